"""A training that is killed at many random moments; its end is compared with an unkilled run's."""

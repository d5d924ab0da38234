"""A training killed at many random moments; its end is compared with an untouched run's."""

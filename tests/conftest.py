"""Fixtures for every kind of test; the cluster is started only where a test asks for it."""

from hypothesis import settings

from detection_trainer.run.process import prepare_process

# Here, before any test imports TensorFlow, which reads it once: else what a test trains in this
# process takes other kernels, thus other bits, than what it starts as a program.
prepare_process()

pytest_plugins = [
    "tests.support.cluster.fixtures",
    "tests.support.cluster.operator_fixtures",
    "tests.support.cluster.site_fixtures",
]

# Machines are noisy: time is measured in benchmarks, never a reason for a test to fail.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

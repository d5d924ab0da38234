"""Fixtures for every kind of test; the cluster is started only where a test asks for it."""

from hypothesis import settings

pytest_plugins = [
    "tests.support.fixtures",
    "tests.support.operator_fixtures",
    "tests.support.site_fixtures",
]

# Machines are noisy: time is measured in benchmarks, never a reason for a test to fail.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

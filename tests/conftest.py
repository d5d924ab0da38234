"""Fixtures for every kind of test; the cluster is started only where a test asks for it."""

pytest_plugins = ["tests.support.fixtures", "tests.support.operator_fixtures"]

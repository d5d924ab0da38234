"""The examples in the docstrings of the contract are true."""

import doctest
import importlib
import pkgutil

import pytest

from detection_trainer import contract

MODULES = [
    module.name for module in pkgutil.walk_packages(contract.__path__, f"{contract.__name__}.")
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_the_contract_has_examples() -> None:
    tests = [
        test
        for name in MODULES
        for test in doctest.DocTestFinder().find(importlib.import_module(name))
    ]
    assert sum(bool(test.examples) for test in tests) >= 10

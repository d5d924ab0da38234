"""Messages and help use plain English: none of the phrases that made readers stop."""

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from detection_operator.api.conditions import CONDITION_HELP, PHASE_HELP, REASON_HELP
from detection_trainer.__main__ import COMMANDS, build_parser

ROOT = Path(__file__).parents[3]
AVOIDED = re.compile(
    r"\b(goes on|went on|to go on|going on|anew|mere|merely|whoever|who may|such a|mend|mended|"
    r"taken over|awaited|so many times|is told|has a word|stands with|does not hold|do not hold|"
    r"lies (?:at|beyond|there)|has yet to)\b",
    re.IGNORECASE,
)
"""Only phrases without a good use: `hold`, `stand` and `say` alone have one."""
SOURCES = sorted(
    path.relative_to(ROOT)
    for package in ("operator/detection_operator", "trainer/detection_trainer")
    for path in (ROOT / package).rglob("*.py")
)


def found_in(texts: Iterator[str]) -> list[str]:
    """Return those of `texts` that have an avoided phrase."""
    return [text for text in texts if AVOIDED.search(text)]


@pytest.mark.parametrize("texts", [CONDITION_HELP, PHASE_HELP, REASON_HELP])
def test_the_help_of_conditions_phases_and_reasons_is_plain(texts: dict[str, str]) -> None:
    assert found_in(iter(texts.values())) == []


def test_the_messages_of_admission_are_plain() -> None:
    crd = yaml.safe_load((ROOT / "crds/detectiontrainings.yaml").read_text())
    messages = list(messages_below(crd))
    assert len(messages) > 20
    assert found_in(iter(messages)) == []


def messages_below(node: object) -> Iterator[str]:
    """Yield the message of every CEL rule below `node`."""
    if isinstance(node, list):
        for item in node:
            yield from messages_below(item)
    if isinstance(node, dict):
        yield from (rule["message"] for rule in node.get("x-kubernetes-validations", ()))
        for value in node.values():
            yield from messages_below(value)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_is_plain(command: str) -> None:
    helps = list(help_below(build_parser(command)))
    assert len(helps) > len(COMMANDS)
    assert found_in(iter(helps)) == []


def help_below(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the help of `parser` and of all its commands."""
    yield parser.format_help()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from help_below(command)


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_the_texts_of_a_module_are_plain(source: Path) -> None:
    assert found_in(literals(ast.parse((ROOT / source).read_text()))) == []


def literals(tree: ast.AST) -> Iterator[str]:
    """Yield every string literal below `tree`, without docstrings; placeholders become `…`."""
    if isinstance(tree, ast.Expr) and isinstance(tree.value, ast.Constant):
        return
    if isinstance(tree, ast.JoinedStr):
        parts = (v.value if isinstance(v, ast.Constant) else "…" for v in tree.values)
        yield "".join(map(str, parts))
        return
    if isinstance(tree, ast.Constant) and isinstance(tree.value, str):
        yield tree.value
    for child in ast.iter_child_nodes(tree):
        yield from literals(child)


def test_an_avoided_phrase_is_found() -> None:
    tree = ast.parse('"""It goes on."""\nraise ValueError(f"the spec {x} goes " "on")')
    assert found_in(literals(tree)) == ["the spec … goes on"]

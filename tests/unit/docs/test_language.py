"""Messages, help and documentation use plain English: no phrase that made readers stop."""

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
AVOIDED_IN_PROSE = re.compile(
    r"\b(goes on|went on|to go on|going on|anew|mere|merely|whoever|mend|mended|taken over|awaited|"
    r"so many times|is told|are told|has a word|stands with|does not hold|do not hold|"
    r"lies (?:at|beyond|there)|has yet to|have yet to|looked at at once|no hold-up|in the own|"
    r"tried again|trying on|asks nobody)\b"
    r"|(?:^|[.:;|(] )who (?:may|can)\b",
    re.IGNORECASE,
)
"""For documentation, where `users who may` and `such a report` have a good use."""
ROOT_PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "RELEASE.md")
PAGES = sorted(
    path.relative_to(ROOT)
    for path in (*(ROOT / page for page in ROOT_PAGES), *(ROOT / "docs").rglob("*.md"))
)
CHART = ROOT / "charts" / "detection-operator"
CHART_FILES = sorted(
    path.relative_to(ROOT) for path in (CHART / "values.yaml", *(CHART / "templates").iterdir())
)
BLOCK = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`]*`")
LINK_TARGET = re.compile(r"\]\([^)]*\)")
MARKS = re.compile(r"^[ \t]*(?:[>#*-]+|\|)?[ \t]+", re.MULTILINE)
ACTION = re.compile(r"\{\{-? (?!/\*).*?\}\}", re.DOTALL)
COMMENT = re.compile(r"(?:^ *#.*\n)+|/\*.*?\*/", re.MULTILINE | re.DOTALL)
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


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_page_is_plain(page: Path) -> None:
    assert prose_problems(paragraphs((ROOT / page).read_text())) == []


@pytest.mark.parametrize("file", CHART_FILES, ids=str)
def test_the_comments_of_the_chart_are_plain(file: Path) -> None:
    text = (ROOT / file).read_text()
    texts = paragraphs(ACTION.sub("…", text)) if file.suffix == ".txt" else comments(text)
    assert prose_problems(texts) == []


def prose_problems(texts: Iterator[str]) -> list[str]:
    """Return those of `texts` that have a phrase that prose avoids."""
    return [text for text in texts if AVOIDED_IN_PROSE.search(text)]


def paragraphs(page: str) -> Iterator[str]:
    """Yield each paragraph of `page` on one line, without code and link targets."""
    text = LINK_TARGET.sub("]", CODE.sub("…", BLOCK.sub("", page)))
    for paragraph in text.split("\n\n"):
        yield one_line(paragraph)


def comments(source: str) -> Iterator[str]:
    """Yield each comment of a chart's file on one line, without code."""
    for comment in COMMENT.findall(source):
        yield one_line(CODE.sub("…", comment.strip("/*")))


def one_line(text: str) -> str:
    """Return `text` without the marks before its lines, joined to one line."""
    return " ".join(MARKS.sub("", text).replace("**", "").split())


PHRASES = {
    "in a line": ("The run goes on.", True),
    "across lines": ("The run goes\non.", True),
    "in a list": ("- first\n- goes on", True),
    "at the start of a sentence": ("Policies help. Who may\ncreate it, can read it.", True),
    "at the start of a cell": ("| a | who may train |", True),
    "after an emphasis": ("**Rights.** Who may create it", True),
    "in a relative clause": ("Users who may create it can read it.", False),
    "in a code span": ("It logged `the run goes\non`.", False),
    "in a block": ("```\nthe run goes on\n```\n", False),
    "in a link's target": ("[resume](adr/goes on.md)", False),
    "in two paragraphs": ("It goes\n\non.", False),
}


@pytest.mark.parametrize(("page", "found"), PHRASES.values(), ids=PHRASES.keys())
def test_an_avoided_phrase_on_a_page_is_found(page: str, found: bool) -> None:  # noqa: FBT001
    assert bool(prose_problems(paragraphs(page))) == found


@pytest.mark.parametrize(
    "source",
    ["a: 1\n  # it goes\n  # on\nb: 2\n", "{{- /* It goes on. */ -}}", "# Who may\n# train\n"],
    ids=["across lines", "in a template", "at the start"],
)
def test_an_avoided_phrase_in_a_comment_is_found(source: str) -> None:
    assert len(prose_problems(comments(source))) == 1


def test_an_avoided_phrase_is_found() -> None:
    tree = ast.parse('"""It goes on."""\nraise ValueError(f"the spec {x} goes " "on")')
    assert found_in(literals(tree)) == ["the spec … goes on"]

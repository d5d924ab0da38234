"""Messages, help and documentation use plain English: no phrase that made readers stop."""

import argparse
import ast
import io
import re
import tokenize
from collections.abc import Iterator
from itertools import count, takewhile
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
CLEAN_FOLDERS = (
    "benchmarks", "chaos", "demo", "local_cluster", "operator", "sandbox", "supply_chain", "tests",
    "trainer",
)  # fmt: skip
"""The folders whose docstrings, comments and names are plain."""
AVOIDED_IN_CODE = re.compile(
    rf"{AVOIDED_IN_PROSE.pattern}|\b(?:tells?|told|says?|said|saying|heard)\b",
    re.IGNORECASE,
)
"""For docstrings and comments: a program reports, logs or answers."""
AVOIDED_IN_NAMES = frozenset({
    "said", "told", "tell", "tells", "says", "saying", "heard", "spoken", "awaited", "anew",
})  # fmt: skip
FILE_METHODS = {("trainer/detection_trainer/weights/archive.py", "tell")}
"""A file-like object has a method of this name."""
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


@pytest.mark.parametrize("folder", CLEAN_FOLDERS)
def test_the_docstrings_and_comments_of_a_folder_are_plain(folder: str) -> None:
    sources = sources_of(folder)
    assert len(sources) > 0
    assert [
        f"{source.relative_to(ROOT)}: {text}"
        for source in sources
        for text in code_texts(source.read_text())
        if AVOIDED_IN_CODE.search(text)
    ] == []


@pytest.mark.parametrize("folder", CLEAN_FOLDERS)
def test_the_names_in_a_folder_are_plain(folder: str) -> None:
    found = {
        (str(source.relative_to(ROOT)), name)
        for source in sources_of(folder)
        for name in names_in(ast.parse(source.read_text()))
        if AVOIDED_IN_NAMES.intersection(name.lower().split("_"))
    }
    assert found - FILE_METHODS == set()


def sources_of(folder: str) -> list[Path]:
    """Return the modules of a folder of the repository."""
    return sorted((ROOT / folder).rglob("*.py"))


def code_texts(source: str) -> Iterator[str]:
    """Yield each docstring and each comment of a module on one line, without code."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(ast.Constant(str(text))):
                yield from paragraphs(text)
    for comment in code_comments(source):
        yield one_line(CODE.sub("…", comment))


def code_comments(source: str) -> Iterator[str]:
    """Yield the comments of a module; lines of one comment stay together."""
    lines: dict[int, str] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            lines[token.start[0]] = token.string
    for number, line in lines.items():
        if number - 1 not in lines:
            block = takewhile(lines.__contains__, count(number + 1))
            yield "\n".join([line, *(lines[following] for following in block)])


def names_in(tree: ast.AST) -> set[str]:
    """Return the names that a module gives to classes, functions, parameters and variables."""
    names = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
                names.add(name)
            case ast.arg(name) | ast.Name(name, ast.Store()) | ast.Attribute(_, name, ast.Store()):
                names.add(name)
    return names


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


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('"""It goes\non."""', True),
        ('def f():\n    """Return x.\n\n    Told by y.\n    """', True),
        ('class A:\n    x: int\n    """What y says."""', True),
        ("# It goes\n# on.", True),
        ("x = 1  # as y told", True),
        ("x = 1  # noqa: S603 - y says so", True),
        ('"""Runs `goes on`."""', False),
        ('x = "it goes on"', False),
        ("# It goes\n\n# on.", False),
    ],
    ids=[
        "a docstring across lines", "a later paragraph", "a docstring of an attribute",
        "a comment across lines", "a comment after code", "the reason of a noqa", "a code span",
        "a string", "two comments",
    ],
)  # fmt: skip
def test_an_avoided_phrase_in_a_module_is_found(source: str, found: bool) -> None:  # noqa: FBT001
    assert any(map(AVOIDED_IN_CODE.search, code_texts(source))) == found


@pytest.mark.parametrize(
    "source",
    [
        "said = 1", "def f(said): ...", "def tell(): ...", "class Said: ...", "x.told = 1",
        "for said in x: ...", "def f():\n    is_awaited = 1", "with x as said: ...",
    ],
)  # fmt: skip
def test_an_avoided_name_is_found(source: str) -> None:
    names = {part for name in names_in(ast.parse(source)) for part in name.lower().split("_")}
    assert names & AVOIDED_IN_NAMES

"""What import-linter and ruff do not check: circles of imports, and long functions."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("operator", "trainer")
MAX_LINES = 50
MAX_PARAMETERS = 7
MAX_IMPORTS_OF_SESSION = 17


def modules(folder: Path) -> dict[str, Path]:
    """Return module name -> file of all packages in `folder`."""
    found = {}
    for path in folder.rglob("*.py"):
        parts = path.relative_to(folder).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(folder: Path) -> dict[str, set[str]]:
    """Return module -> modules of the same folder that it imports, also within functions."""
    known = modules(folder)
    return {
        module: {name for name in _imported(path, known) if name in known} - {module}
        for module, path in known.items()
    }


def _imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in known else str(node.module) for name in names)


def functions(folder: Path) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Yield all functions of `folder`, methods and inner ones included, with where they are."""
    for module, path in sorted(modules(folder).items()):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{module}.{node.name}", node


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many parameters a caller may give."""
    given = function.args
    names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_modules_import_each_other_in_a_circle(folder: str) -> None:
    graph = imports(ROOT / folder)
    assert len(graph) > 30, "the packages are found"
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize(
    "second",
    ["import package.first", "def call():\n    from package import first"],
    ids=["at the top of a module", "within a function"],
)
def test_a_circle_is_found(tmp_path: Path, second: str) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "first.py").write_text("from package.second import name")
    (package / "second.py").write_text(second)
    with pytest.raises(CycleError, match="cycle"):
        TopologicalSorter(imports(tmp_path)).prepare()


def test_the_chief_s_session_leaves_details_to_other_modules() -> None:
    imported = imports(ROOT / "trainer")["detection_trainer.run.session"]
    assert len(imported) <= MAX_IMPORTS_OF_SESSION, sorted(imported)


def test_no_function_of_the_trainer_is_long() -> None:
    lengths = {
        name: function.end_lineno - function.lineno + 1
        for name, function in functions(ROOT / "trainer")
        if function.end_lineno is not None
    }
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


def test_no_function_of_the_trainer_has_many_parameters() -> None:
    counts = {name: parameters(function) for name, function in functions(ROOT / "trainer")}
    assert {name: count for name, count in counts.items() if count > MAX_PARAMETERS} == {}

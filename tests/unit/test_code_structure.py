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
    """Return how many parameters a function has, without self or cls."""
    given = function.args
    names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    rest = [a for a in (given.vararg, given.kwarg) if a is not None]
    return len(names) - (names[:1] in (["self"], ["cls"])) + len(rest)


def long_functions(folder: Path) -> dict[str, int]:
    """Return the functions of more than MAX_LINES lines, with their lines."""
    lengths = {
        name: function.end_lineno - function.lineno + 1
        for name, function in functions(folder)
        if function.end_lineno is not None
    }
    return {name: lines for name, lines in lengths.items() if lines > MAX_LINES}


def functions_of_many_parameters(folder: Path) -> dict[str, int]:
    """Return the functions of more than MAX_PARAMETERS parameters, with their number."""
    counts = {name: parameters(function) for name, function in functions(folder)}
    return {name: count for name, count in counts.items() if count > MAX_PARAMETERS}


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


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_function_is_long(folder: str) -> None:
    assert long_functions(ROOT / folder) == {}


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_function_has_many_parameters(folder: str) -> None:
    assert functions_of_many_parameters(ROOT / folder) == {}


@pytest.mark.parametrize(
    ("lines", "found"), [(50, {}), (51, {"part.call": 51})], ids=["at the limit", "above it"]
)
def test_a_function_is_long_above_50_lines(
    tmp_path: Path, lines: int, found: dict[str, int]
) -> None:
    body = "    pass\n" * (lines - 1)
    (tmp_path / "part.py").write_text(f"async def call():\n{body}")
    assert long_functions(tmp_path) == found


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("self, a, b, c, d, e, f, g", {}),
        ("self, a, b, c, d, e, f, g, h", {"part.__init__": 8}),
        ("self, *, a, b, c, d, e, f, g, h", {"part.__init__": 8}),
        ("self, a, /, b, c, d, e, f, *args, **options", {"part.__init__": 8}),
    ],
    ids=["seven", "eight", "eight that are named", "six and two that take the rest"],
)
def test_a_constructor_has_at_most_7_parameters_besides_self(
    tmp_path: Path, given: str, found: dict[str, int]
) -> None:
    (tmp_path / "part.py").write_text(f"class Part:\n    def __init__({given}): ...\n")
    assert functions_of_many_parameters(tmp_path) == found

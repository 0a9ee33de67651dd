"""The shape every service keeps: source roots, packages, sizes, and what no source file holds."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ROOT / "services"
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60

Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources() -> list[Path]:
    return sorted(SERVICES.rglob("*.py"))


def functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, Function):
            yield node


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def code_lines(function: Function) -> int:
    """From the first statement after the docstring to the last."""
    body = function.body
    if ast.get_docstring(function) is not None:
        body = body[1:]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_there_are_sources() -> None:
    assert sources()


def test_interlock_is_a_namespace_that_every_root_adds_to() -> None:
    written_in_python = {path.parents[0] for path in SERVICES.glob("*/src/*") if [*path.rglob("*.py")]}
    roots = [*written_in_python, ROOT / "gen"]
    assert [named(r) for r in roots if not (r / "interlock").is_dir()] == []
    assert [named(r) for r in roots if (r / "interlock/__init__.py").exists()] == []


def test_every_package_says_so() -> None:
    namespaces = {*SERVICES.glob("*/src/interlock"), *SERVICES.glob("*/src")}
    # Alembic loads revisions by path.
    packages = {path.parent for path in sources() if path.parent.name != "versions"} - namespaces
    assert [named(p) for p in sorted(packages) if not (p / "__init__.py").exists()] == []


def test_files_stay_readable() -> None:
    long = {named(p): n for p in sources() if (n := len(p.read_text().splitlines())) > MAX_FILE_LINES}
    assert long == {}


def test_functions_stay_readable() -> None:
    long = {
        f"{named(path)}:{function.lineno} {function.name}": lines
        for path in sources()
        for function in functions(path)
        if (lines := code_lines(function)) > MAX_FUNCTION_LINES
    }
    assert long == {}


@pytest.mark.parametrize(
    "mark", ["TODO", "FIXME", "XXX", "raise NotImplementedError", "pdb.set_trace", "breakpoint()"]
)
def test_nothing_is_left_for_later(mark: str) -> None:
    assert [named(p) for p in sources() if re.search(rf"\b{re.escape(mark)}", p.read_text())] == []


def test_every_module_but_a_package_marker_has_a_docstring() -> None:
    silent = [
        p
        for p in sources()
        if p.name != "__init__.py" and ast.get_docstring(ast.parse(p.read_text())) is None
    ]
    assert [named(p) for p in silent] == []

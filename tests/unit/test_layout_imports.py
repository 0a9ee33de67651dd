"""Who may import whom, where import contracts cannot say it (those are in pyproject.toml, `make lint`)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ROOT / "services"
# Handlers, use cases, and what talks to other services.
EDGES = {"convert", "service", "server", "commands", "queries", "worker", "clients", "orchestrator"}
CLOCKS = {"now", "utcnow", "today"}


def imported(path: Path) -> set[str]:
    """Every module name a file imports, `from a import b` counting as both `a` and `a.b`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def domain_files() -> list[Path]:
    return sorted(SERVICES.glob("*/src/interlock/*/domain/**/*.py"))


def touches(names: set[str], package: str) -> bool:
    return any(name == package or name.startswith(package + ".") for name in names)


@pytest.mark.parametrize("service", ["orchestrator", "executor", "planner", "approval", "gateway"])
def test_wire_and_domain_meet_only_at_the_edges(service: str) -> None:
    """`convert` turns one into the other; use cases and adapters hold both. Nothing below them does."""
    package = SERVICES / service / "src/interlock" / service
    both = [
        str(path.relative_to(ROOT))
        for path in sorted(package.rglob("*.py"))
        if not EDGES & set(path.relative_to(package).with_suffix("").parts)
        and touches(imported(path), "interlock.v1")
        and touches(imported(path), f"interlock.{service}.domain")
    ]
    assert both == []


def test_domains_do_not_ask_what_time_it_is() -> None:
    asked = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in domain_files()
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Attribute) and node.attr in CLOCKS
        if isinstance(node.value, ast.Name) and node.value.id in {"datetime", "date"}
    ]
    assert asked == []


def test_no_relative_imports() -> None:
    relative = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted(SERVICES.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []

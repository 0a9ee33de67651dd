"""`interlock --help` is fast because it imports nothing that is slow. Seen by the list of imports, not by a clock."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from interlock.cli.lazy import COMMANDS

HEAVY = (
    "grpc", "google", "rich", "sqlalchemy", "psycopg", "alembic", "yaml", "httpx", "structlog", "opentelemetry",
    "protovalidate", "asyncio", "interlock.v1", "interlock.client", "interlock.orchestrator", "interlock.executor",
    "interlock.planner", "interlock.approval", "interlock.cli.commands",
)  # fmt: skip

_PROGRAM = """
import json, sys
sys.argv = ["interlock", *json.loads(sys.argv[1])]
from interlock.cli.main import app
try:
    app()
except SystemExit as stop:
    code = stop.code
print(json.dumps([code, sorted(sys.modules)]))
"""

SUBGROUPS = {"run": ["envelope"]}


def imports_of(*arguments: str) -> tuple[int, list[str], str]:
    line = [sys.executable, "-c", _PROGRAM, json.dumps(arguments)]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    *text, last = done.stdout.splitlines()
    code, modules = json.loads(last)
    return code, modules, "\n".join(text)


def heavy(modules: list[str], allowed: tuple[str, ...] = ()) -> list[str]:
    return [
        name
        for name in modules
        if any(name == each or name.startswith(f"{each}.") for each in HEAVY)
        and not any(name == each or name.startswith(f"{each}.") for each in allowed)
    ]


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], []])
def test_the_first_screen_imports_nothing_heavy(arguments: list[str]) -> None:
    code, modules, text = imports_of(*arguments)
    assert heavy(modules) == []
    assert (code, bool(text)) == ((0, True) if arguments else (2, False))


def test_help_names_every_command() -> None:
    _, _, text = imports_of("--help")
    for name, line in COMMANDS.items():
        assert f"  {name} " in text
        assert line.split(";")[0].split(".")[0] in text


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_group_imports_only_its_own_module(name: str) -> None:
    code, modules, text = imports_of(name, "--help")
    assert code == 0
    assert heavy(modules, ("interlock.cli.commands", "asyncio")) == []
    commands = {m.split(".")[3] for m in modules if m.startswith("interlock.cli.commands.")}
    assert commands == {own.replace("-", "_") for own in (name, *SUBGROUPS.get(name, ()))}
    assert text

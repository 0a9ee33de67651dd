"""Every command that the documentation names exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from interlock.cli.main import app

ROOT = Path(__file__).parents[3]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
NAMED = re.compile(r"(?:^ {4}|`|^\$ |^)interlock ((?:[a-z][a-z-]*[ \n`]?)+)", re.MULTILINE)


@pytest.fixture(scope="module")
def root() -> Any:
    return typer.main.get_command(app)


def unknown(root: Any, text: str) -> list[str]:
    """Names of commands that there are not."""
    found = []
    for words in NAMED.findall(text):
        at = root
        for word in words.replace("`", " ` ").split():
            if not hasattr(at, "get_command") or word == "`":
                break
            inner = at.get_command(at.context_class(at), word)
            if inner is None:
                found.append(f"interlock {words.strip('` ')}: {word}")
                break
            at = inner
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_pages_commands_exist(root: Any, page: Path) -> None:
    assert unknown(root, page.read_text()) == []


def test_a_command_that_is_not_there_is_found(root: Any) -> None:
    assert unknown(
        root, "see `interlock run show`, `interlock run get` and\n    interlock nothing --x\n"
    ) == [
        "interlock run show: show",
        "interlock nothing: nothing",
    ]

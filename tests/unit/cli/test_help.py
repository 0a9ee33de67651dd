"""`--help` of every command: values are named, choices are listed, and the lists are those that are understood."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from interlock.cli.exporting import Form
from interlock.cli.follow.decide import Approve
from interlock.cli.main import app
from interlock.cli.names import APPROVAL_STATES, APPROVE, FORMATS, ON_REJECT, RUN_STATES, one_of
from interlock.cli.text import enum_choices
from interlock.v1.decision_pb2 import ApprovalState
from interlock.v1.run_pb2 import RunState


def commands(group: Any, *path: str) -> Iterator[tuple[str, ...]]:
    """The words of every command."""
    if not hasattr(group, "list_commands"):
        yield path
        return
    for name in group.list_commands(None):
        yield from commands(group.get_command(None, name), *path, name)


EVERY = list(commands(typer.main.get_command(app)))


def help_of(*words: str) -> str:
    done = CliRunner().invoke(app, [*words, "--help"], prog_name="interlock", terminal_width=200)
    assert done.exit_code == 0
    return done.stdout


@pytest.mark.parametrize("words", EVERY, ids="-".join)
def test_no_value_is_shown_as_a_type_of_the_program(words: tuple[str, ...]) -> None:
    text = help_of(*words)
    assert not re.search(r"<[a-z]", text), text
    assert "{" not in text.splitlines()[0]


def test_there_are_commands_at_all() -> None:
    assert {("run", "exec"), ("doctor",), ("workspace", "gc")} <= set(EVERY)


@pytest.mark.parametrize(
    ("words", "choices"),
    [
        (("run", "exec"), APPROVE),
        (("run", "list"), RUN_STATES),
        (("approvals", "list"), APPROVAL_STATES),
        (("approvals", "reject"), ON_REJECT),
        (("workspace", "export"), FORMATS),
        (("run", "get"), ("table", "json", "jsonl")),
    ],
)
def test_choices_are_listed(words: tuple[str, ...], choices: tuple[str, ...]) -> None:
    assert one_of(choices) in help_of(*words)


def test_the_lists_are_complete() -> None:
    assert list(RUN_STATES) == [each.lower() for each in enum_choices(RunState)]
    assert list(APPROVAL_STATES) == [each.lower() for each in enum_choices(ApprovalState)]
    assert list(APPROVE) == [each.value for each in Approve]
    assert list(FORMATS) == [each.value for each in Form]

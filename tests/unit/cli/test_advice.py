"""What errors advise: commands that exist, and that can be run as they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from interlock.cli.main import app
from interlock.common.advice import named
from interlock.common.errors import InterlockError, Reason
from interlock.common.reasons import TABLE

SERVICES = Path(__file__).resolve().parents[3] / "services"
COMMAND = re.compile(r"`interlock ((?:[a-z][a-z-]* ?)+)")

# What is wrong is in the request itself, or ends by itself: there is nothing to run but the request, corrected.
OF_THE_REQUEST = {
    *(Reason.INVALID_ARGUMENT, Reason.VALIDATION_FAILED, Reason.MESSAGE_TOO_LARGE, Reason.RESOURCE_EXHAUSTED),
    *(Reason.REQUEST_ID_REUSED, Reason.CURSOR_EXPIRED, Reason.CURSOR_INVALID, Reason.PAGE_TOKEN_INVALID),
    *(Reason.DEADLINE_EXCEEDED, Reason.LEASE_LOST, Reason.EPOCH_STALE, Reason.EFFECT_NOT_OWNED),
    *(Reason.RUN_TOO_MANY_STEPS, Reason.WORKSPACE_SOURCE_INVALID, Reason.PATH_OUTSIDE_WORKSPACE),
    *(Reason.PATH_NOT_REGULAR, Reason.MODEL_PROMPT_TOO_LARGE, Reason.MODEL_REFUSED),
}


def commands(group: Any, *path: str) -> Iterator[tuple[str, ...]]:
    if not hasattr(group, "list_commands"):
        yield path
        return
    for name in group.list_commands(None):
        yield from commands(group.get_command(None, name), *path, name)


EVERY = set(commands(typer.main.get_command(app)))


def advised() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every command that stands between backquotes in the sources, and the file that has it."""
    for path in sorted(SERVICES.rglob("*.py")):
        for found in COMMAND.finditer(re.sub(r'"\s*\n\s*f?"', "", path.read_text())):
            yield path.name, tuple(found[1].split())


@pytest.mark.parametrize("reason", sorted(set(Reason) - OF_THE_REQUEST))
def test_the_advice_of_a_reason_names_what_to_run_or_to_set(reason: Reason) -> None:
    fix = TABLE[reason].fix
    assert re.search(r"`(interlock )?[a-z]|INTERLOCK_[A-Z]", fix), fix


def test_every_command_that_is_named_anywhere_exists() -> None:
    groups = {words[:count] for words in EVERY for count in range(1, len(words))}
    wrong = [
        (file, " ".join(words))
        for file, words in advised()
        if not (
            any(words[:count] in EVERY for count in (1, 2, 3)) or (words in groups and file != "reasons.py")
        )
    ]
    assert wrong == []
    assert len(list(advised())) > 100


def test_ids_that_are_known_stand_in_the_command() -> None:
    facts = {"run_id": "run-01jd", "step": "3"}
    error = InterlockError(Reason.EFFECT_TAMPERED, "It was changed.", metadata=facts)
    assert "`interlock step retry run-01jd 3`" in error.fix
    assert "RUN STEP" in TABLE[Reason.EFFECT_TAMPERED].fix
    told = InterlockError(Reason.WORKSPACE_DRIFTED, "So.", metadata={"workspace_id": "ws-2"})
    assert told.fix.startswith("`interlock workspace diff ws-2`")
    assert told.fix.endswith("`interlock step retry RUN STEP`.")


@pytest.mark.parametrize("given", ["run-1; rm -rf ~", "$(id)", "run-1`", "", "RUN", "x" * 40])
def test_what_is_no_id_never_gets_into_a_command(given: str) -> None:
    assert named("`interlock run get RUN`", {"run_id": given}) == "`interlock run get RUN`"


def test_names_outside_of_commands_stay() -> None:
    assert named("RUN: `interlock run get RUN`; set `RUN`", {"run_id": "run-1"}) == (
        "RUN: `interlock run get run-1`; set `RUN`"
    )

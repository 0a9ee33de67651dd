"""A second run on a workspace, as somebody at the command line meets it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.command_line import EDIT, READ, Installation, plan

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("verb", ["exec", "start"])
def test_a_plan_that_is_refused_leaves_no_run_behind(
    interlock: Installation, project: Path, verb: str
) -> None:
    holder = interlock.json("run", "start", "-w", str(project), "--plan", plan(project, EDIT))["runId"]
    done = interlock("run", verb, "-w", str(project), "--plan", plan(project, READ), code=1)
    assert f"is in the hands of {holder}" in done.stderr
    assert "--wait-for-workspace" in done.stderr
    runs = interlock.json("run", "list", "-w", str(project))["runs"]
    assert [run["runId"] for run in runs] == [holder]
    interlock("run", "cancel", holder)


def test_in_line_it_starts_when_the_other_one_ends(interlock: Installation, project: Path) -> None:
    holder = interlock.json("run", "start", "-w", str(project), "--plan", plan(project, EDIT))["runId"]
    second = interlock(
        "run", "start", "-w", str(project), "--plan", plan(project, READ), "--wait-for-workspace"
    )
    assert f"waits for its workspace: {holder} has it" in second.stderr
    assert f"its workspace, which {holder} has" in second.stdout
    interlock("run", "cancel", holder)
    newest = interlock.json("run", "list", "-w", str(project), "--limit", "1")["runs"][0]["runId"]
    assert interlock.json("run", "wait", newest)["state"] == "RUN_STATE_COMPLETED"


def test_a_rollback_is_not_told_to_wait_in_line(interlock: Installation, project: Path) -> None:
    done = interlock.json(
        "run", "exec", "-w", str(project), "--plan", plan(project, EDIT), "--approve", "all"
    )
    again = plan(project, "{run_command: {command: 'true'}}")
    holder = interlock.json("run", "start", "-w", str(project), "--plan", again)["runId"]
    refused = interlock("run", "rollback", done["runId"], code=1).stderr
    assert (
        f"do:     Let {holder} end (`interlock run wait {holder}`), or cancel it: `interlock run cancel {holder}`.\n"
        in refused
    )
    assert "--wait-for-workspace" not in refused
    interlock("run", "cancel", holder)

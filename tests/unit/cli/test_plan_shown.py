"""How a new plan differs from the old one, as people see it."""

from __future__ import annotations

import json

import pytest

from interlock.cli.plans import write_plan
from interlock.cli.runs import Wanted
from interlock.cli.settings import Output, Settings
from interlock.cli.show.plans import plan_diff, show_replanned
from interlock.common.errors import InterlockError, Reason
from interlock.v1.run_pb2 import Run
from interlock.v1.step_pb2 import (
    EditFileInput,
    ReadFileInput,
    RunCommandInput,
    Step,
    StepInput,
    StepSpec,
    StepState,
)

READ = StepSpec(input=StepInput(read_file=ReadFileInput(path="a")))
MAKE = StepSpec(input=StepInput(run_command=RunCommandInput(command="make")))
EDIT = StepSpec(input=StepInput(edit_file=EditFileInput(path="a", new_content="x\x1b[31m\n")))


def run(*steps: tuple[StepSpec, str]) -> Run:
    made = [
        Step(run_id="run-1", number=number, spec=spec, state=StepState.Value(f"STEP_STATE_{state}"))
        for number, (spec, state) in enumerate(steps, 1)
    ]
    return Run(run_id="run-1", goal="g", steps=made, steps_total=len(made))


def test_every_line_of_both_plans_is_there() -> None:
    assert plan_diff("g", [READ, MAKE], [READ, EDIT])[:4] == [
        " - read_file:", "     path: a", "-- run_command:", "-    command: make",
    ]  # fmt: skip
    assert plan_diff("g", [READ], [READ]) == ["- read_file:", "    path: a"]
    assert plan_diff("g", [], [READ]) == ["+- read_file:", "+    path: a"]
    assert plan_diff("g", [READ], []) == ["-- read_file:", "-    path: a"]


def test_a_re_plan_is_shown_as_what_stays_and_what_differs(capsys: pytest.CaptureFixture[str]) -> None:
    before = run((READ, "SUCCEEDED"), (MAKE, "PENDING"))
    after = run((READ, "SUCCEEDED"), (MAKE, "SKIPPED"), (EDIT, "PENDING"))
    show_replanned(Settings(), before, after)
    shown = capsys.readouterr().out
    assert shown.startswith(
        "Steps that ended: 1, as they are. Steps to come: 1, replaced by 1:\n-- run_command:\n"
    )
    assert "\x1b" not in shown
    show_replanned(Settings(output=Output.JSON), before, after)
    told = json.loads(capsys.readouterr().out)
    assert [len(told[name]) for name in ("added", "removed")] == [1, 1]
    assert told["run"]["runId"] == "run-1"


def test_steps_at_a_time_are_towards_a_goal(tmp_path: object) -> None:
    wanted = Wanted.read(".", "", "tidy up", None, few=2, most=9)
    assert (wanted.few, wanted.most) == (2, 9)
    for plan, few, most in (("plan.yaml", 1, 0), ("", 0, 5)):
        with pytest.raises(InterlockError) as caught:
            Wanted.read(".", plan, "" if plan else "g", None, few=few, most=most)
        assert caught.value.field == "steps_at_a_time"


def test_a_plan_file_that_cannot_be_written_is_an_error() -> None:
    with pytest.raises(InterlockError) as caught:
        write_plan("/nowhere/at/all.yaml", "goal: g\n")
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID_ARGUMENT, "out")

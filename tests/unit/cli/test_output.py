"""Data on standard output."""

from __future__ import annotations

import json
import re

import pytest
from google.protobuf.json_format import ParseDict

from interlock.cli.output import show_list, show_one, table_lines, use_colour, write_fields
from interlock.cli.settings import Output, Settings
from interlock.cli.show.diff import diff_lines
from interlock.cli.show.runs import list_runs, run_exit_code, show_open_run, show_run
from interlock.v1.run_pb2 import Run, RunState
from interlock.v1.step_pb2 import Effect, Step, StepFailure, StepSpec, StepState
from interlock.v1.step_pb2 import Output as StepOutput

NASTY = "a\x1b[2J\u202eb"


def test_columns_are_aligned_and_cells_are_safe() -> None:
    assert table_lines(("A", "LONG"), [("1", "x"), ("22", "a\nb")]) == ["A   LONG", "1   x", "22  a\\x0ab"]


def test_on_a_narrow_terminal_the_last_column_is_cut_visibly() -> None:
    lines = table_lines(("A", "TEXT"), [("1", "x" * 50)], width=20)
    assert lines[1] == "1  " + "x" * 16 + "…"
    assert table_lines(("A", "TEXT"), [("1", "x" * 50)])[1].endswith("x" * 50)


def test_states_are_coloured_without_breaking_the_columns() -> None:
    _, line = table_lines(("STATE", "X"), [("FAILED", "y")], colour=True)
    assert line == "\x1b[31mFAILED\x1b[0m  y"


def test_no_color_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert use_colour(Terminal())
    monkeypatch.setenv("TERM", "dumb")
    assert not use_colour(Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not use_colour(Terminal())


def test_empty_fields_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    write_fields([("a", "1"), ("longer", ""), ("bb", NASTY)])
    assert capsys.readouterr().out == "a:  1\nbb: a\\x1b[2J\\u202eb\n"


def runs() -> list[Run]:
    return [
        Run(run_id="run-1", goal=NASTY, state=RunState.RUN_STATE_RUNNING, steps_total=3, steps_done=1),
        Run(run_id="run-2", goal="größer", state=RunState.RUN_STATE_FAILED, journal_length=2**53 + 1),
    ]


def test_json_is_the_standard_mapping_of_the_messages(capsys: pytest.CaptureFixture[str]) -> None:
    list_runs(Settings(output=Output.JSON), runs())
    text = capsys.readouterr().out
    assert text.isascii()
    data = json.loads(text)
    assert [ParseDict(each, Run()) for each in data["runs"]] == runs()
    assert data["runs"][0]["runId"] == "run-1"
    assert data["runs"][0]["state"] == "RUN_STATE_RUNNING"
    assert data["runs"][1]["journalLength"] == str(2**53 + 1)


def test_jsonl_is_one_message_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    list_runs(Settings(output=Output.JSONL), runs())
    lines = capsys.readouterr().out.splitlines()
    assert [ParseDict(json.loads(line), Run()) for line in lines] == runs()


def test_tables_show_the_same_safely(capsys: pytest.CaptureFixture[str]) -> None:
    list_runs(Settings(), runs())
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["RUN", "STATE", "STEPS", "CREATED", "GOAL"]
    assert first.split()[:3] == ["run-1", "RUNNING", "1/3"]
    assert "a\\x1b[2J\\u202eb" in first
    assert second.endswith("größer")


def test_an_empty_list_says_so_on_standard_error_only(capsys: pytest.CaptureFixture[str]) -> None:
    show_list(Settings(), "runs", [], ("A",), lambda _: ("",), empty="None.")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "None.\n")
    show_list(Settings(output=Output.JSON), "runs", [], ("A",), lambda _: ("",), empty="None.")
    assert json.loads(capsys.readouterr().out) == {"runs": []}


def test_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    show_one(Settings(output=Output.JSONL), runs()[0], lambda: pytest.fail("people were asked"))
    assert capsys.readouterr().out.count("\n") == 1


def test_a_run_with_everything_is_shown_safely(capsys: pytest.CaptureFixture[str]) -> None:
    spec = StepSpec(name=NASTY)
    spec.input.run_command.command = f"echo {NASTY}"
    effect = Effect(stdout=StepOutput(head=NASTY.encode()), exit_code=0)
    failure = StepFailure(reason="COMMAND_FAILED", message=NASTY, field="x", fix=NASTY, metadata={"k": NASTY})
    step = Step(number=1, spec=spec, state=StepState.STEP_STATE_FAILED, effect=effect, failure=failure)
    show_run(Settings(), Run(run_id="run-1", goal=NASTY, steps=[step], failure=failure))
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "COMMAND_FAILED" in text


def test_working_and_waiting_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    step = Step(number=1, state=StepState.STEP_STATE_SUCCEEDED)
    step.started_at.FromSeconds(1000)
    step.ended_at.FromSeconds(1190)
    step.waited.FromSeconds(185)
    run = Run(run_id="run-1", steps=[step, Step(number=2)])
    run.created_at.FromSeconds(999)
    run.updated_at.FromSeconds(1190)
    show_run(Settings(), run)
    text = capsys.readouterr().out
    assert re.search(r"lasted: +3m 11s, 3m 05s of it waiting\n", text)
    assert re.search(r"\nSTEP +STATE +TOOK +WAITED +WHAT +OUTCOME\n1 +SUCCEEDED +5\.0s +3m 05s", text)


def test_steps_that_wait_say_for_what(capsys: pytest.CaptureFixture[str]) -> None:
    step = Step(number=2, state=StepState.STEP_STATE_AWAITING_APPROVAL, approval_id="apr-b")
    show_run(Settings(), Run(run_id="run-1", steps=[step]))
    assert "\nStep 2 waits for apr-b. `interlock approvals show apr-b`" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (RunState.RUN_STATE_COMPLETED, 0),
        (RunState.RUN_STATE_FAILED, 1),
        (RunState.RUN_STATE_CANCELLED, 1),
        (RunState.RUN_STATE_AWAITING_APPROVAL, 3),
        (RunState.RUN_STATE_PAUSED, 3),
    ],
)
def test_exit_codes_of_runs(state: int, code: int) -> None:
    assert run_exit_code(Run(state=state)) == code  # type: ignore[arg-type]


def test_a_rejection_is_told_from_a_failure() -> None:
    rejected = Step(number=1, state=StepState.STEP_STATE_REJECTED)
    failed = RunState.RUN_STATE_FAILED
    assert run_exit_code(Run(state=failed, failure=StepFailure(reason="STEP_REJECTED"))) == 4
    assert run_exit_code(Run(state=failed, steps=[rejected])) == 4
    other = StepFailure(reason="COMMAND_FAILED")
    assert run_exit_code(Run(state=failed, steps=[rejected], failure=other)) == 1
    assert run_exit_code(Run(state=RunState.RUN_STATE_COMPLETED, steps=[rejected])) == 0


@pytest.mark.parametrize(("state", "said"), [("PAUSED", True), ("RUNNING", False), ("COMPLETED", False)])
def test_a_run_that_was_left_paused_says_how_it_goes_on(
    capsys: pytest.CaptureFixture[str], state: str, said: bool
) -> None:
    run = Run(run_id="run-1", state=RunState.Value(f"RUN_STATE_{state}"))
    show_open_run(Settings(output=Output.JSON), run)
    out, err = capsys.readouterr()
    assert json.loads(out)["runId"] == "run-1"
    assert err == ("It is paused: `interlock run resume run-1` goes on.\n" if said else "")


DIFF = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\x1b[8m\n+new\r\n same\n"


def test_diffs_are_coloured_after_they_were_made_safe() -> None:
    lines = diff_lines(DIFF, colour=True)
    assert lines[4] == "\x1b[31m-old\\x1b[8m\x1b[0m"
    assert lines[5] == "\x1b[32m+new\\x0d\x1b[0m"
    assert lines[6] == " same"
    assert diff_lines(DIFF, colour=False)[4] == "-old\\x1b[8m"


def test_long_diffs_say_what_is_left_out() -> None:
    lines = diff_lines("\n".join(f"+{n}" for n in range(100)), colour=False, limit=10)
    assert len(lines) == 11
    assert lines[-1] == "… 90 more lines"
    assert diff_lines("", colour=True) == []

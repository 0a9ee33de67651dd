"""Following a run: what is folded from the stream, what is printed, what is asked."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from interlock.cli.follow.ask import Answer, Terminal, edit_text
from interlock.cli.follow.live import LiveReporter
from interlock.cli.follow.reporter import PlainReporter
from interlock.cli.follow.view import TAIL_LINES, RunView
from interlock.v1.decision_pb2 import ApprovalRecord
from interlock.v1.orchestrator_pb2 import WatchRunResponse
from interlock.v1.policy_pb2 import Gate
from interlock.v1.run_pb2 import Run, RunState
from interlock.v1.step_pb2 import OutputChunk, OutputStream, Step, StepSpec, StepState

RUN = Run(run_id="run-1", state=RunState.RUN_STATE_RUNNING, steps_total=2)


def spec(command: str = "make test") -> StepSpec:
    made = StepSpec()
    made.input.run_command.command = command
    return made


def step(number: int, state: int, **fields: Any) -> WatchRunResponse:
    return WatchRunResponse(step=Step(number=number, state=state, spec=spec(), **fields))  # type: ignore[arg-type]


def output(data: bytes, number: int = 1) -> WatchRunResponse:
    return WatchRunResponse(output=OutputChunk(step=number, data=data))


def test_lines_are_put_together_from_pieces_and_made_safe() -> None:
    view = RunView(RUN)
    assert view.apply(output(b"one\ntw")).lines == ["one"]
    assert view.apply(output(b"o\r\n\x1b[2J\n")).lines == ["two", "\\x1b[2J"]
    assert view.apply(output(b" 10%\r 50%\r100%\nrest")).lines == ["100%"]
    assert view.flush() == ["rest"]
    assert list(view.tail) == ["one", "two", "\\x1b[2J", "100%", "rest"]


def test_what_is_kept_is_bounded() -> None:
    view = RunView(RUN)
    view.apply(output(b"x\n" * 10 * TAIL_LINES))
    assert len(view.tail) == TAIL_LINES
    endless = [view.apply(output(b"y" * 1000)) for _ in range(100)]
    assert any(changed.lines for changed in endless)


def test_changes_are_told_once() -> None:
    view = RunView(RUN)
    assert view.apply(step(1, StepState.STEP_STATE_PREPARING)).state == StepState.STEP_STATE_PREPARING
    assert view.apply(step(1, StepState.STEP_STATE_PREPARING)).state is None
    again = view.apply(step(1, StepState.STEP_STATE_PREPARING, attempt=2))
    assert again.state == StepState.STEP_STATE_PREPARING
    paused = Run(run_id="run-1", state=RunState.RUN_STATE_PAUSED)
    assert view.apply(WatchRunResponse(run=paused)).run_state == RunState.RUN_STATE_PAUSED
    assert view.apply(WatchRunResponse(run=paused)).run_state is None
    assert [each.number for each in view.ordered()] == [1]


def test_a_new_step_starts_with_an_empty_tail() -> None:
    view = RunView(RUN)
    view.apply(step(1, StepState.STEP_STATE_PREPARING))
    view.apply(output(b"first\n"))
    view.apply(step(2, StepState.STEP_STATE_PREPARING))
    assert list(view.tail) == []


def test_plain_progress_is_one_line_per_change() -> None:
    stream = io.StringIO()
    reporter, view = PlainReporter(stream), RunView(RUN)
    reporter.begin(view)
    for message in (
        step(1, StepState.STEP_STATE_PENDING),
        step(1, StepState.STEP_STATE_PREPARING),
        output(b"hello\nlast"),
        step(1, StepState.STEP_STATE_SUCCEEDED),
    ):
        reporter.changed(view, view.apply(message))
    reporter.end(view)
    assert stream.getvalue().splitlines() == [
        "run-1: 0 steps",
        "[1/2] PREPARING run_command: make test",
        "    | hello",
        "    | last",
        "[1/2] SUCCEEDED run_command: make test",
        "run-1 RUNNING: 0 of 2 steps, 0.0s, no model calls",
    ]


def test_the_live_view_draws_states_output_and_cost_safely() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=100, height=40, color_system=None)
    reporter, view = LiveReporter(console), RunView(RUN)
    view.apply(step(1, StepState.STEP_STATE_SUCCEEDED))
    view.apply(step(2, StepState.STEP_STATE_PREPARING))
    view.apply(output(b"a\x07b\n", number=2))
    reporter.begin(view)
    reporter.note("said [bold]plainly[/bold]")
    reporter.pause()
    reporter.resume()
    reporter.changed(view, view.apply(step(2, StepState.STEP_STATE_FAILED)))
    reporter.end(view)
    text = stream.getvalue()
    assert "run-1  RUNNING" in text
    assert "a\\x07b" in text
    assert "\x07" not in text
    assert "said [bold]plainly[/bold]" in text
    assert "✗" in text
    assert "no model calls" in text


def test_what_was_asked_stays_on_the_terminal() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=100, height=40, color_system=None)
    reporter, view = LiveReporter(console), RunView(RUN)
    for number in range(1, 9):
        view.apply(step(number, StepState.STEP_STATE_PENDING))
    reporter.begin(view)
    reporter.pause()
    before = len(stream.getvalue())
    stream.write("a question and its answer\n")
    reporter.resume()
    reporter.pause()
    drawn_again = stream.getvalue()[before:].partition("run-1")[0]
    assert "\x1b[1A" not in drawn_again  # moving up would overwrite what was asked


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_marks_states_and_times_are_whole_on_any_terminal(width: int) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=width, height=40, color_system=None)
    view = RunView(RUN)
    done = step(12, StepState.STEP_STATE_SUCCEEDED)
    done.step.spec.name = "a long name " * 20
    done.step.reply = "a long reply " * 20
    view.apply(done)
    reporter = LiveReporter(console)
    reporter.end(view)
    line = stream.getvalue().splitlines()[0]
    assert len(line.rstrip()) <= width
    assert line.split()[:2] == ["✓", "12"]
    assert " SUCCEEDED " in line


def test_many_steps_are_shown_around_the_current_one() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=100, height=40, color_system=None)
    view = RunView(RUN)
    for number in range(1, 10_001):
        view.apply(step(number, StepState.STEP_STATE_PENDING))
    view.apply(step(5000, StepState.STEP_STATE_PREPARING))
    reporter = LiveReporter(console)
    reporter.begin(view)
    reporter.pause()
    drawn = stream.getvalue()
    assert "5000" in drawn
    assert "9999" not in drawn


@pytest.fixture
def approval() -> ApprovalRecord:
    record = ApprovalRecord(
        approval_id="apr-1",
        run_id="run-1",
        step=2,
        gate=Gate.GATE_EFFECT,
        goal="tidy",
        digest="sha256:" + "a" * 64,
        spec=spec(),
    )
    record.preview.diff = "".join(f"+line {n}\n" for n in range(200))
    record.preview.exit_code = 0
    return record


def terminal(*answers: str, edited: str | None = None) -> tuple[Terminal, list[str]]:
    lines: list[str] = []
    waiting: Iterator[str] = iter(answers)

    async def read(prompt: str) -> str:
        lines.append(prompt)
        try:
            return next(waiting) + "\n"
        except StopIteration:
            raise EOFError from None

    async def edit(text: str) -> str | None:
        lines.append(text)
        return edited

    return Terminal(read, lines.append, edit), lines


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["a"], Answer("approve")),
        (["A"], Answer("approve")),
        (["approve"], Answer("approve")),
        (["r", "too risky"], Answer("reject", "too risky")),
        (["s", ""], Answer("skip", "")),
        (["", "?", "what", "a"], Answer("approve")),
        (["yes", "y", "a"], Answer("approve")),
    ],
)
async def test_answers(approval: ApprovalRecord, answers: list[str], expected: Answer) -> None:
    asking, _ = terminal(*answers)
    assert await asking.ask(approval) == expected


async def test_what_is_approved_was_shown_first(approval: ApprovalRecord) -> None:
    asking, lines = terminal("f", "a")
    await asking.ask(approval)
    shown = lines[0]
    for part in ("apr-1", approval.digest, "make test", "exit code 0", "+line 0", "more lines"):
        assert part in shown
    assert "+line 199" not in shown
    assert "+line 199" in lines[2]


async def test_a_closed_terminal_decides_nothing(approval: ApprovalRecord) -> None:
    asking, _ = terminal()
    with pytest.raises(EOFError):
        await asking.ask(approval)


async def test_editing_changes_the_input(approval: ApprovalRecord) -> None:
    asking, lines = terminal("e", edited="goal: tidy\nsteps:\n  - run_command: {command: make check}\n")
    answer = await asking.ask(approval)
    assert answer.verdict == "edit"
    assert answer.edit is not None
    assert answer.edit.run_command.command == "make check"
    assert "make test" in lines[2]


@pytest.mark.parametrize(
    ("edited", "said"),
    [
        (None, "Nothing was changed"),
        ("goal: tidy\nsteps: []\n", "Not usable"),
        ("goal: tidy\nsteps:\n  - read_file: {path: x}\n", "of the kind run_command"),
        ("{{{", "Not usable"),
    ],
)
async def test_an_edit_that_cannot_be_used_asks_again(
    approval: ApprovalRecord, edited: str | None, said: str
) -> None:
    asking, lines = terminal("e", "a", edited=edited)
    assert await asking.ask(approval) == Answer("approve")
    assert any(said in line for line in lines)


async def test_the_editor_is_a_real_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "sed -i s/before/after/")
    assert await edit_text("before\n") == "after\n"
    monkeypatch.setenv("EDITOR", "false")
    assert await edit_text("before\n") is None
    monkeypatch.setenv("EDITOR", "/nowhere/at all")
    assert await edit_text("before\n") is None


def test_a_reply_that_comes_is_marked_as_partial_and_shown_before_its_line_is_whole() -> None:
    view = RunView(RUN)
    piece = OutputChunk(step=1, data=b"It is\nwell", stream=OutputStream.OUTPUT_STREAM_REPLY)
    stream = io.StringIO()
    PlainReporter(stream).changed(view, view.apply(WatchRunResponse(output=piece)))
    assert stream.getvalue() == "    … It is\n"
    assert view.begun == ["well"]
    view.apply(output(b"\nmake: nothing"))
    assert (view.mark, view.begun) == ("|", [])

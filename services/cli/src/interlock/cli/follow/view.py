"""What is known of a run that is followed, folded from the messages of WatchRun. No terminal, no calls."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from interlock.cli.safe import escape_bytes
from interlock.v1.cost_pb2 import Cost
from interlock.v1.orchestrator_pb2 import WatchRunResponse
from interlock.v1.run_pb2 import Run
from interlock.v1.step_pb2 import OutputChunk, OutputStream, Step, StepState

TAIL_LINES = 200
_MAX_PARTIAL = 4096

ACTIVE = frozenset(
    {
        StepState.STEP_STATE_PREPARING,
        StepState.STEP_STATE_AWAITING_APPROVAL,
        StepState.STEP_STATE_APPROVED,
        StepState.STEP_STATE_APPLYING,
    }
)


@dataclass(slots=True)
class Changed:
    """What one message changed: the step it was about, its state if that is another one, new output lines."""

    step: Step | None = None
    state: int | None = None
    run_state: int | None = None
    lines: list[str] = field(default_factory=list)


class RunView:
    """The run, its steps by number, and the last lines of the current step's output."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.steps: dict[int, Step] = {step.number: step for step in run.steps}
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.current = 0
        self.replying = False
        self._partial = b""

    def apply(self, message: WatchRunResponse) -> Changed:
        """Take one message."""
        changed = Changed()
        if message.HasField("run"):
            if message.run.state != self.run.state:
                changed.run_state = message.run.state
            self.run = message.run
        if message.HasField("step"):
            self._step(message.step, changed)
        if message.WhichOneof("update") == "output":
            changed.lines = self._output(message.output)
        return changed

    def replace_steps(self, steps: list[Step]) -> None:
        """Take the steps as they are now, for example after planning."""
        self.steps = {step.number: step for step in steps}

    def ordered(self) -> list[Step]:
        """The steps by number."""
        return [self.steps[number] for number in sorted(self.steps)]

    @property
    def cost(self) -> Cost:
        """What the run cost so far."""
        return self.run.cost

    @property
    def mark(self) -> str:
        """What stands before a line of output: a model's reply is partial as long as it comes."""
        return "…" if self.replying else "|"

    @property
    def begun(self) -> list[str]:
        """The line that a model is in the middle of; a command's is shown when it is whole."""
        return [_last_segment(self._partial)] if self.replying and self._partial else []

    def _step(self, step: Step, changed: Changed) -> None:
        before = self.steps.get(step.number)
        self.steps[step.number] = step
        changed.step = step
        if before is None or (before.state, before.attempt) != (step.state, step.attempt):
            changed.state = step.state
        if step.state in ACTIVE and step.number != self.current:
            self.current = step.number
            self.tail.clear()
            self._partial = b""

    def _output(self, chunk: OutputChunk) -> list[str]:
        if chunk.step != self.current:
            self.current = chunk.step
            self.tail.clear()
            self._partial = b""
        self.replying = chunk.stream == OutputStream.OUTPUT_STREAM_REPLY
        *whole, self._partial = (self._partial + chunk.data).split(b"\n")
        if len(self._partial) > _MAX_PARTIAL:
            whole.append(self._partial)
            self._partial = b""
        lines = [_last_segment(line) for line in whole]
        self.tail.extend(lines)
        return lines

    def flush(self) -> list[str]:
        """The last line of output, when it did not end with a newline."""
        rest, self._partial = self._partial, b""
        if not rest:
            return []
        line = _last_segment(rest)
        self.tail.append(line)
        return [line]


def _last_segment(line: bytes) -> str:
    """What a terminal would show of a progress bar: the text after the last carriage return."""
    return escape_bytes(line.rstrip(b"\r").rpartition(b"\r")[2])

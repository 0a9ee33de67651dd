"""Asks on the terminal what to do about a pending step."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from interlock.cli.output import use_colour
from interlock.cli.safe import escape
from interlock.cli.show.approvals import approval_lines
from interlock.client.convert import plan_step, step_input
from interlock.common.errors import InterlockError
from interlock.common.plan import Plan, dump_yaml, parse_plan
from interlock.v1.decision_pb2 import ApprovalRecord
from interlock.v1.step_pb2 import StepInput

_QUESTION = "[a]pprove, [r]eject, [s]kip, [e]dit, [f]ull, [?] help: "
_HELP = """  a  approve exactly what is shown
  r  reject it, with a comment; the run fails
  s  skip this step, the run goes on
  e  edit the step in $EDITOR; it is prepared and asked about again
  f  show everything, uncut
  ?  this help"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the person decided."""

    verdict: str
    comment: str = ""
    edit: StepInput | None = None


class Terminal:
    """Reads answers from a person. What touches the terminal can be replaced in tests."""

    def __init__(
        self,
        read: Callable[[str], Awaitable[str]] | None = None,
        write: Callable[[str], None] | None = None,
        edit: Callable[[str], Awaitable[str | None]] | None = None,
    ) -> None:
        self._read = read or _read_line
        self._write = write or _write_line
        self._edit = edit or edit_text

    async def ask(self, approval: ApprovalRecord) -> Answer:
        """Show it and ask until there is an answer. Raises EOFError when the terminal is closed."""
        self._show(approval, full=False)
        while True:
            key = (await self._read(_QUESTION)).strip().lower()
            if key in ("a", "approve"):
                return Answer("approve")
            if key in ("r", "reject"):
                return Answer("reject", (await self._read("Why? ")).strip())
            if key in ("s", "skip"):
                return Answer("skip", (await self._read("Why? (may be empty) ")).strip())
            if key in ("f", "full"):
                self._show(approval, full=True)
            elif key in ("e", "edit"):
                answer = await self._edited(approval)
                if answer is not None:
                    return answer
            else:
                self._write(_HELP)

    def _show(self, approval: ApprovalRecord, *, full: bool) -> None:
        colour = use_colour(sys.stderr)
        self._write("\n" + "\n".join(approval_lines(approval, colour=colour, full=full)))

    async def _edited(self, approval: ApprovalRecord) -> Answer | None:
        """The step's new input; None when nothing was changed or it is not valid (which is said)."""
        before = plan_step(approval.spec)
        document = dump_yaml(Plan(goal=approval.goal or "goal", steps=(replace(before, gate=None),)))
        text = await self._edit(document)
        if text is None or text == document:
            self._write("Nothing was changed.")
            return None
        try:
            steps = parse_plan(text).steps
        except InterlockError as error:
            self._write(escape(f"Not usable: {error.message}"))
            return None
        if len(steps) != 1 or steps[0].kind is not before.kind:
            self._write(f"Not usable: keep one step, of the kind {before.kind.value}.")
            return None
        return Answer("edit", edit=step_input(steps[0].input))


async def edit_text(text: str) -> str | None:
    """The text after an editor ($VISUAL, $EDITOR, vi) was closed; None when it failed."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory(prefix="interlock-") as directory:
        path = Path(directory) / "step.yaml"
        _store(path, text)
        try:
            process = await asyncio.create_subprocess_exec(*shlex.split(editor), str(path))
        except (OSError, ValueError) as error:
            _write_line(escape(f"Cannot start the editor {editor!r}: {error}"))
            return None
        return _load(path) if await process.wait() == 0 else None


def _store(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _load(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


async def _read_line(prompt: str) -> str:
    """A line from the terminal. Waits in the event loop, so that Ctrl-C ends it like everything else."""
    sys.stderr.write(prompt)
    sys.stderr.flush()
    loop, fd = asyncio.get_running_loop(), sys.stdin.fileno()
    readable = asyncio.Event()
    loop.add_reader(fd, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(fd)
    data = os.read(fd, 65536)  # a terminal gives one line at a time
    if not data:
        raise EOFError
    return data.decode("utf-8", "replace")


def _write_line(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

"""A run's journal as commits: one for each event that moved the workspace to another tree.

What a commit says follows from the journal alone, so the same run gives the same commits anywhere, and a fork's begin
with those of the run it comes from.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from interlock.v1.export_pb2 import ExportItem
from interlock.v1.journal_pb2 import JournalEvent

Events = Callable[[str], AsyncIterator[JournalEvent]]
"""All events of a run, in order."""

_MOST_GENERATIONS = 100
_SUBJECT = 72


@dataclass(frozen=True, slots=True)
class History:
    """Commits, oldest first, and for each step how many of them lie up to where it last ended (0: before the first).

    `over` are the steps that have ended; those of them that were passed over have no place of their own in `upto`.
    """

    items: list[ExportItem]
    upto: dict[int, int]
    workspace_id: str
    over: frozenset[int] = frozenset()

    def at(self, step: int | None) -> list[ExportItem]:
        """The commits up to the tree after a step, None = all. Raises KeyError for a step that has not ended.

        That is the tree that it left when it last ended; a step that was passed over counts as the one before it.
        """
        if step is None:
            return self.items
        if step and step not in self.over:
            raise KeyError(step)
        return self.items[: self.upto[max((known for known in self.upto if known <= step), default=0)]]


_PENDING, _ACTIVE, _OVER = "pending", "active", "over"


@dataclass(slots=True)
class _Step:
    """What the journal has told about a step so far."""

    spec: dict[str, Any] = field(default_factory=dict)
    effect: str = ""
    approvals: list[tuple[str, str, str]] = field(default_factory=list)
    state: str = _PENDING


async def read_history(run_id: str, events: Events) -> History:
    """The history of a run, that of the runs it is a fork of first. Raises what `events` raises."""
    line = [run_id]
    bounds: dict[str, int] = {}
    while (origin := await _origin(line[-1], events)) is not None and len(line) < _MOST_GENERATIONS:
        line.append(origin["run_id"])
        bounds[origin["run_id"]] = origin["seq"]
    reader = _Reader()
    for name in reversed(line):
        await reader.read(name, events, bounds.get(name))
    over = frozenset(number for number, step in reader.steps.items() if step.state == _OVER)
    return History(reader.items, reader.upto, reader.workspace_id, over)


async def _origin(run_id: str, events: Events) -> dict[str, Any] | None:
    async for event in events(run_id):
        found: dict[str, Any] | None = json.loads(event.canonical_json)["data"].get("fork")
        return found
    return None


class _Reader:
    def __init__(self) -> None:
        self.items: list[ExportItem] = []
        self.upto: dict[int, int] = {}
        self.workspace_id = ""
        self.run_id = ""
        self.tree = ""
        self.steps: dict[int, _Step] = {}

    async def read(self, run_id: str, events: Events, until: int | None) -> None:
        """Take a run's events up to seq `until`."""
        self.run_id = run_id
        created: JournalEvent | None = None
        async for event in events(run_id):
            if until is not None and event.seq > until:
                break
            data = json.loads(event.canonical_json)["data"]
            if created is None:
                created = event
                self.workspace_id = data["workspace_id"]
            self.learn(event, data)
            self.move(event, data, created)

    def learn(self, event: JournalEvent, data: dict[str, Any]) -> None:
        """What a step is asked to do, and what was decided about it."""
        if event.type == "run.steps_added":
            for number, spec in enumerate(data["specs"], data["first"]):
                self.steps[number] = _Step(spec)
                self.upto.pop(number, None)  # what another run of the line had there
        elif event.type == "run.steps_inherited":
            for number, known in enumerate(data["steps"], data["first"]):
                self.steps.setdefault(number, _Step(known["spec"])).state = _OVER
        elif event.type == "run.cancelled" or data.get("replaces_pending"):
            for step in self.steps.values():
                step.state = _OVER if step.state == _PENDING else step.state
        if not event.step:
            return
        step = self.steps.setdefault(event.step, _Step())
        if event.type in ("step.started", "step.edited", "step.preview_superseded"):
            step.effect, step.approvals = "", []
            if event.type == "step.edited":
                step.spec = {**step.spec, "input": data["input"]}
        elif event.type == "step.prepared":
            step.effect = data["prepared"].get("effect_digest", "")
        elif event.type == "approval.decided" and data["verdict"] == "approve":
            step.approvals.append((data["approval_id"], data["subject"], data.get("channel", "")))

    def move(self, event: JournalEvent, data: dict[str, Any], created: JournalEvent) -> None:
        """Enter a commit when the event moved the workspace to another tree."""
        base = (data.get("prepared") or data.get("fork") or {}).get(_BASE.get(event.type, ""), "")
        if base and not self.tree:
            self.commit(base, _first(self.run_id, created, base), created)
        tree = data.get("head_tree") or (data.get("to_tree") if event.type in _DRIFTS else "")
        if tree and self.tree and tree != self.tree:
            self.commit(tree, self.message(event, data, tree), event)
        if event.step:
            self.end(event.type, self.steps[event.step], event.step, again=bool(data.get("will_retry")))

    def end(self, kind: str, step: _Step, number: int, *, again: bool) -> None:
        """Where a step that was carried out has ended; nowhere, once it is to be tried again."""
        if kind == "step.retried" or (kind == "step.failed" and again):
            self.upto.pop(number, None)
            step.state = _PENDING
        elif kind == "step.started":
            step.state = _ACTIVE
        elif kind in _ENDS:
            if step.state == _ACTIVE:
                self.upto[number] = len(self.items)
            step.state = _OVER

    def commit(self, tree: str, message: str, event: JournalEvent) -> None:
        """One more commit."""
        item = ExportItem(workspace_id=self.workspace_id, tree=tree, message=message)
        item.at.seconds = event.at.seconds
        self.items.append(item)
        self.upto.setdefault(0, 1)
        self.tree = tree

    def message(self, event: JournalEvent, data: dict[str, Any], tree: str) -> str:
        """The subject says what moved it; the trailers prove it."""
        step = self.steps.get(event.step, _Step())
        trailers = [("Run", self.run_id)]
        if event.step:
            trailers.append(("Step", str(event.step)))
        if event.type == "step.succeeded":
            subject = f"Step {event.step}: {_title(step.spec)}"
            trailers.append(("Effect", step.effect))
            for approval, by, channel in step.approvals:
                trailers += [("Approval", approval), ("Approved-By", by), ("Approved-Via", channel)]
        else:
            subject = _SUBJECTS.get(event.type, event.type)
            subject = f"{subject} {event.step}" if event.step else subject
            trailers.append(("Operation", data.get("operation_id", "")))
        trailers += [("Tree", tree), ("Event", f"{event.seq} {event.digest}")]
        return _message(subject, trailers)


_BASE = {"step.proposed": "base_tree", "step.prepared": "base_tree", "run.created": "tree"}
_DRIFTS = frozenset({"workspace.drift_adopted"})
_ENDS = frozenset(
    {
        "step.succeeded",
        "step.failed",
        "step.rejected",
        "step.skipped",
        "step.cancelled",
        "step.outcome_unknown",
    }
)
_SUBJECTS = {
    "workspace.drift_adopted": "Someone changed the directory",
    "run.rolled_back": "Roll back",
    "run.overtaken": "Another run rolled back over this one",
    "step.reverted": "Revert step",
}


def _first(run_id: str, created: JournalEvent, tree: str) -> str:
    data = json.loads(created.canonical_json)["data"]
    goal = data.get("goal") or created.texts.get(data.get("goal_payload", ""), "[erased]")
    trailers = [("Run", run_id), ("Step", "0"), ("Tree", tree), ("Event", f"{created.seq} {created.digest}")]
    return _message(f"Before: {goal}", trailers)


def _title(spec: dict[str, Any]) -> str:
    given = spec.get("input", {})
    argv = given.get("argv", {}).get("items", [])
    said = spec.get("name") or given.get("path") or given.get("command") or " ".join(argv)
    return f"{spec.get('kind', '')} {said}".strip()


def _message(subject: str, trailers: list[tuple[str, str]]) -> str:
    lines = [f"Interlock-{name}: {_line(value)}" for name, value in trailers if value]
    return f"{_cut(_line(subject))}\n\n" + "\n".join(lines) + "\n"


def _line(text: str) -> str:
    """One line of visible characters: nothing in it can end the line and begin another trailer."""
    escaped = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in re.sub(r"[\t\n\r ]+", " ", text))
    return escaped.encode("utf-8", "replace").decode()


def _cut(text: str) -> str:
    return text if len(text) <= _SUBJECT else text[: _SUBJECT - 1] + "…"

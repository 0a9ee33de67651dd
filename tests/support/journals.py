"""Journals made without any service: events sealed and folded as the orchestrator does, and bundles of them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.chain import Sealed
from interlock.orchestrator.domain.context import Context
from interlock.orchestrator.domain.evolve import Recorded
from interlock.orchestrator.domain.fork import Beginning, Prefix, fork, found
from interlock.orchestrator.domain.model import Approval as Question
from interlock.orchestrator.domain.model import Gate, Prepared, Run, StepKind, StepSpec, Verdict
from interlock.orchestrator.runs.rows import Change

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
RUN, CHILD = "run-parent", "run-child"
PLAN = (
    StepSpec(StepKind.EDIT_FILE, {"path": "a", "new_content": "1"}),
    StepSpec(StepKind.EDIT_FILE, {"path": "b", "new_content": "2"}),
    StepSpec(StepKind.READ_FILE, {"path": "a"}),
)


def digest(letter: str) -> str:
    return "sha256:" + letter * 64


class Journal:
    """One run's, event by event, a second apart; nothing follows by itself."""

    def __init__(self, run_id: str = RUN, *first: e.Event) -> None:
        self.change = Change(run_id, None, None)
        self.events: list[e.Event] = []
        self.add(*(first or (e.RunCreated("goal", "ws-1", "ann"), e.StepsAdded(1, PLAN, "ann"))))

    @property
    def run(self) -> Run:
        assert self.change.after is not None
        return self.change.after

    @property
    def sealed(self) -> list[Sealed]:
        return self.change.sealed

    def add(self, *events: e.Event) -> None:
        for event in events:
            self.change.add(event, START + timedelta(seconds=len(self.sealed)))
            self.events.append(event)

    def start(self) -> None:
        self.add(e.RunStarted("ann"))

    def edit(self, step: int, base: str, result: str, *, by: str = "bob", attempt: int = 1) -> None:
        """A step that changes something, shown and approved."""
        shown = Prepared(digest("c"), digest(base), digest("e"), digest("f"), digest(result))
        apr = f"apr-{step}-{attempt}"
        self.add(
            e.StepStarted(attempt, "effect", step=step),
            e.StepPrepared(attempt, shown, step=step),
            e.ApprovalRequested(Question(apr, Gate.EFFECT, digest("f"), attempt), step=step),
            e.ApprovalDecided(apr, Verdict.APPROVE, digest("f"), by, "cli", step=step),
            e.StepApplying(attempt, apr, digest("f"), step=step),
            e.StepSucceeded(attempt, digest(result), step=step),
        )

    def look(self, step: int, tree: str, *, attempt: int = 1) -> None:
        """A step that changes nothing."""
        shown = Prepared(digest("c"), digest(tree), digest("e"), digest("f"), digest(tree))
        self.add(
            e.StepStarted(attempt, step=step),
            e.StepPrepared(attempt, shown, step=step),
            e.StepSucceeded(attempt, digest(tree), step=step),
        )

    def beginning(self, at_step: int) -> Beginning:
        prefix = Prefix(at_step, self.run)
        for sealed, event in zip(self.sealed, self.events, strict=True):
            prefix.add(Recorded(sealed.run_id, sealed.seq, sealed.at, event, sealed.digest))
        return found(prefix)

    def forked(self, at_step: int, run_id: str = CHILD, **options: Any) -> Journal:
        begin = self.beginning(at_step)
        options.setdefault("tree", begin.tree or digest("0"))
        made = fork(context(), begin, workspace_id="ws-2", labels={}, **options)
        return Journal(run_id, *made)

    def bundle(self) -> list[bytes]:
        return bundle(self.run.run_id, [s.canonical for s in self.sealed], self.run.head)


def context() -> Context:
    return Context(START, lambda prefix: f"{prefix}-1", "cleo")


def history_of(edited: int = 2) -> Journal:
    """Three steps: two that lead from tree 0 over 1 to 2, and one that reads."""
    journal = Journal()
    journal.start()
    for step in range(1, edited + 1):
        journal.edit(step, str(step - 1), str(step))
    return journal


def bundle(run_id: str, canonical: Sequence[bytes], head: str) -> list[bytes]:
    """A bundle's lines; whatever the events refer to has no bytes, so its payload is left out."""
    header = {
        "bundle": "interlock-journal",
        "version": 1,
        "run_id": run_id,
        "events": len(canonical),
        "head": head,
    }
    lines: list[dict[str, Any]] = [header, *({"event": base64.b64encode(c).decode()} for c in canonical)]
    lines.append({"end": True, "lines": len(lines) + 1})
    return [json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines]


def real(problems: Iterable[Any]) -> list[str]:
    """What was found, but for the payloads that these bundles do without."""
    return [str(p) for p in problems if "which is missing" not in str(p)]

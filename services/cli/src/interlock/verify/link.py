"""The link between a fork's journal and that of the run it is a fork of.

A fork's first event names an event of the other journal by number and digest, and its `run.steps_inherited` events
say what had come of the steps by then. With both journals at hand each of these statements is checked against the
other journal. Written from docs/journal-format.md, independent of the code that makes journals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from interlock.verify.effects import Presence, differs

_STATES = {
    "step.succeeded": "SUCCEEDED",
    "step.rejected": "REJECTED",
    "step.skipped": "SKIPPED",
    "step.cancelled": "CANCELLED",
    "step.outcome_unknown": "OUTCOME_UNKNOWN",
    "step.retried": "PENDING",
}
_COMPARED = ("spec", "state", "attempt", "prepared", "reply_payload", "failure")
_MOVES = ("step.succeeded", "step.reverted", "run.rolled_back", "run.overtaken")


@dataclass(frozen=True, slots=True)
class Origin:
    """What a fork says of where it comes from: event `seq` of a run's journal, its digest, and the tree there."""

    run_id: str
    seq: int
    head: str
    tree: str
    at_step: int


class Facts:
    """Takes the events of one journal in order and keeps what a link is about.

    Args:
        until: the last event that counts for the steps and the tree; None = all.
    """

    def __init__(self, until: int | None = None) -> None:
        self.origin: Origin | None = None
        self.inherited: dict[int, dict[str, Any]] = {}
        self.steps: dict[int, dict[str, Any]] = {}
        self.head = ""
        self.seq = 0
        self.tree = ""
        self.presence = Presence()
        self._until = until

    def __call__(self, seq: int, event: dict[str, Any], digest: str) -> None:
        """The next event. One that is malformed is somebody else's finding: it is passed over."""
        if self._until is not None and seq > self._until:
            return
        self.seq, self.head = seq, digest
        try:
            self._take(seq, event)
        except (KeyError, TypeError, AttributeError, ValueError):
            return

    def _take(self, seq: int, event: dict[str, Any]) -> None:
        kind, data, number = event["type"], event["data"], event["step"]
        self.presence.take(seq, event, self.steps.get(number), self.tree)
        if kind == "run.created" and seq == 1 and data.get("fork"):
            fork = data["fork"]
            self.origin = Origin(
                fork["run_id"], fork["seq"], fork["head"], fork["tree"], fork.get("at_step", 0)
            )
            self.tree = self.origin.tree
        elif kind == "run.steps_inherited":
            for at, step in enumerate(data["steps"], data["first"]):
                self.inherited[at], self.steps[at] = step, dict(step)
                self.presence.inherit(at, step, event["at"])
        elif kind == "run.steps_added":
            for at, spec in enumerate(data["specs"], data["first"]):
                self.steps[at] = {"spec": spec, "state": "PENDING"}
        elif kind == "run.cancelled":
            self._end_pending("CANCELLED")
        elif kind == "run.planned" and data.get("replaces_pending"):
            self._end_pending("SKIPPED")
        elif kind == "workspace.drift_adopted":
            self.tree = data["to_tree"]
        if kind in _MOVES and data.get("head_tree"):
            self.tree = data["head_tree"]
        if number and kind.startswith("step."):
            self._step(kind, data, self.steps[number])

    def _end_pending(self, state: str) -> None:
        for step in self.steps.values():
            if step["state"] == "PENDING":
                step["state"] = state

    def _step(self, kind: str, data: dict[str, Any], step: dict[str, Any]) -> None:
        if kind in ("step.started", "step.edited", "step.preview_superseded"):
            step["attempt"] = data["attempt"]
            step.pop("prepared", None)
        if kind in ("step.started", "step.retried"):
            step.pop("failure", None)
        if kind == "step.edited":
            step["spec"] = {**step["spec"], "input": data["input"]}
        if kind in ("step.proposed", "step.prepared"):
            step["prepared"] = data["prepared"]
            self.tree = self.tree or data["prepared"]["base_tree"]
        if kind == "step.succeeded":
            step["reply_payload"] = data.get("reply_payload", "")
        if kind == "step.failed":
            step["state"] = "PENDING" if data.get("will_retry") else "FAILED"
        if "failure" in data and kind != "step.revert_failed":
            step["failure"] = data["failure"]
        step["state"] = _STATES.get(kind, step["state"])


def broken(child: Facts, parent: Facts, parent_run: str) -> list[str]:
    """What the child's journal says of the parent's that is not so; `parent` was read up to the event it names."""
    origin = child.origin
    if origin is None:
        return ["it is no fork: it names no other run"]
    if origin.run_id != parent_run:
        return [f"it is a fork of {origin.run_id}, not of {parent_run}"]
    found = []
    if (parent.seq, parent.head) != (origin.seq, origin.head):
        found.append(f"event {origin.seq} of {parent_run} is not the one it names, {origin.head}")
    if parent.tree and parent.tree != origin.tree:
        found.append(f"{parent_run} was at {parent.tree} then, not at {origin.tree}")
    for number, claimed in sorted(child.inherited.items()):
        known = parent.steps.get(number)
        if known is None:
            found.append(f"{parent_run} had no step {number}")
            continue
        names = [name for name in _COMPARED if (claimed.get(name) or None) != (known.get(name) or None)]
        if differs(claimed, parent.presence.told(number, parent.seq, parent_run)):
            names.append("effects")
        if names:
            found.append(f"inherited step {number} is not as it was in {parent_run}: {', '.join(names)}")
    return found


def incomplete(child: Facts) -> list[str]:
    """What a fork's journal says about itself that does not add up."""
    expected = child.origin.at_step if child.origin else 0
    if sorted(child.inherited) == list(range(1, expected + 1)):
        return []
    return [f"it says that it inherits {expected} steps; there are {len(child.inherited)}"]

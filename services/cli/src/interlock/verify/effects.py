"""What each step of a journal has published, and what became of it: undone, put back, by which operation.

Follows docs/journal-format.md, independent of the code that makes journals.
"""

from __future__ import annotations

from typing import Any

Record = dict[str, Any]
"""An inherited effect of the format, `by_run` empty for the run's own; `seq` is that of the event in this journal."""

_FIELDS = ("seq", "at", "attempt", "base_tree", "result_tree", "undone_by", "operation_id", "by_run")
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


class Presence:
    """Takes the events of one journal in order, each before it changes anything else that is known of the steps."""

    def __init__(self) -> None:
        self._known: dict[int, list[Record]] = {}
        self._ended: dict[int, tuple[str, int]] = {}
        self._active: set[int] = set()
        self._inherited: set[int] = set()
        self._moment = 0

    def inherit(self, number: int, step: Record, at: str) -> None:
        """A step that the run began with, at the time of the event that says so."""
        self._inherited.add(number)
        effects = [_whole(each) for each in step.get("effects", ())]
        if not effects and (made := _made(step)) and step["state"] == "SUCCEEDED":
            effects = [_record(0, at, step.get("attempt", 0), *made)]
        self._known[number] = effects

    def take(self, seq: int, event: Record, step: Record | None, tree: str) -> None:
        """The next event, the step it is about as it was before, and the tree the workspace was at before."""
        kind, data, at, number = event["type"], event["data"], event["at"], event["step"]
        if kind == "run.rollback_requested":
            self._moment = self._moment_after(data.get("to_step", 0))
        elif kind == "run.rolled_back":
            self._as_at(self._moment, seq, at, data["operation_id"], "")
        elif kind == "run.overtaken":
            self._as_at(data.get("moment", 0), seq, at, data["operation_id"], data["by_run"])
        elif kind == "step.reverted":
            gone = {"undone_by": "revert", "operation_id": data["operation_id"]}
            self._add(number, {**self._known[number][-1], "seq": seq, "at": at, **gone})
        elif kind == "step.succeeded" and step is not None and (made := _made(step)):
            self._add(number, _record(seq, at, data["attempt"], *made))
        if number and kind.startswith("step."):
            self._note_end(seq, kind, data, number, tree)

    def told(self, number: int, seq: int, run_id: str) -> list[Record]:
        """What a fork that stands on event `seq` of the run says of a step's effects."""
        known = self._known.get(number, [])
        if not known:
            return []
        last = known[-1]
        first = next(each for each in known if each["attempt"] == last["attempt"])
        telling = [first, last] if last["undone_by"] else [first]
        by = {"by_run": last["by_run"] or run_id}
        return [
            {**each, "seq": each["seq"] - seq, **(by if each["undone_by"] else {"by_run": ""})}
            for each in telling
        ]

    def _note_end(self, seq: int, kind: str, data: Record, number: int, tree: str) -> None:
        if kind == "step.retried" or (kind == "step.failed" and data.get("will_retry")):
            self._ended.pop(number, None)
        elif kind in _ENDS and number in self._active:
            self._ended[number] = (data.get("head_tree", "") if kind == "step.succeeded" else tree, seq)
        if kind in _ENDS or kind in ("step.started", "step.retried"):
            self._inherited.discard(number)
            (self._active.add if kind == "step.started" else self._active.discard)(number)

    def _moment_after(self, number: int) -> int:
        """The event with which the last step up to this one ended that had a tree; 0 = the run's beginning."""
        for at in range(number, 0, -1):
            tree, seq = self._ended.get(at, ("", 0))
            if tree and at not in self._inherited:
                return seq
        return 0

    def _as_at(self, moment: int, seq: int, at: str, operation_id: str, by_run: str) -> None:
        gone = {"undone_by": "rollback", "operation_id": operation_id, "by_run": by_run}
        for number, known in self._known.items():
            now = _in_place(known)
            then = _in_place([each for each in known if each["seq"] <= moment])
            if then is not None and (now is None or now["attempt"] != then["attempt"]):
                self._add(number, {**then, "seq": seq, "at": at})
            elif then is None and now is not None:
                self._add(number, {**now, "seq": seq, "at": at, **gone})

    def _add(self, number: int, record: Record) -> None:
        self._known[number] = [*self._known.get(number, []), record]


def differs(claimed: Record, expected: list[Record]) -> bool:
    """Whether what a fork says of an inherited step's effects is not so.

    Forks of earlier releases say nothing: what such a step published counts as being in place.
    """
    if "effects" in claimed:
        return [_whole(each) for each in claimed["effects"]] != expected
    said = claimed.get("state") == "SUCCEEDED" and _made(claimed) is not None
    return said != (_in_place(expected) is not None)


def _in_place(known: list[Record]) -> Record | None:
    return known[-1] if known and not known[-1]["undone_by"] else None


def _whole(given: Record) -> Record:
    """With the fields that are left out where they have their default; what the format does not know stays."""
    return {**_record(0, "", 0, "", ""), **given}


def _record(seq: int, at: str, attempt: int, base: str, result: str) -> Record:
    return dict(zip(_FIELDS, (seq, at, attempt, base, result, "", "", ""), strict=True))


def _made(step: Record) -> tuple[str, str] | None:
    """From which tree to which the step's effect leads, where it changes anything."""
    prepared = step.get("prepared") or {}
    base, result = prepared.get("base_tree", ""), prepared.get("result_tree", "")
    return (base, result) if result and result != base else None

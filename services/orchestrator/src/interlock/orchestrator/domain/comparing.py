"""In what two steps differ, as far as the journal alone tells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from interlock.common.digests import canonical_json
from interlock.orchestrator.domain.model import ModelCall, Run, Spent, Step

SHOWN = 200
"""Most characters of a value."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing, and how it is in either step; empty = there is none."""

    field: str
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class Decisions:
    """What was decided about a step: the states of its approvals in order, and the same for people."""

    states: tuple[str, ...] = ()
    text: str = ""


def differences(a: Step, b: Step, decided_a: Decisions, decided_b: Decisions) -> list[Difference]:
    """Everything but outputs, which stand in the effects' payloads, and cost."""
    pairs: list[tuple[str, str, str]] = [("kind", a.spec.kind.value, b.spec.kind.value)]
    if a.spec.kind is b.spec.kind:
        pairs.append(("input", _input(a), _input(b)))
    pairs.append(("state", a.state.value, b.state.value))
    out = [Difference(*pair) for pair in pairs if pair[1] != pair[2]]
    if decided_a.states != decided_b.states:
        out.append(Difference("decision", decided_a.text, decided_b.text))
    pairs = [
        ("exit_code", _exit_code(a), _exit_code(b)),
        ("reply", a.reply_payload, b.reply_payload),
        ("failure", _failure(a), _failure(b)),
        ("result_tree", _result(a), _result(b)),
    ]
    return out + [Difference(*pair) for pair in pairs if pair[1] != pair[2]]


def undone_difference(a: Step, b: Step) -> list[Difference]:
    """Whether what the step published is in one run's workspace and has been taken out of the other's."""
    x, y = _undone(a), _undone(b)
    return [Difference("undone", x, y)] if x != y else []


def shared_beginning(a: Sequence[Run], b: Sequence[Run]) -> tuple[str, int] | None:
    """The run in whose journal both begin, and up to which of its steps; None when they have nothing in common.

    Args:
        a, b: a run and those it is a fork of, nearest first.
    """
    names = {run.run_id for run in b}
    common = next((run.run_id for run in a if run.run_id in names), None)
    if common is None:
        return None
    found = [_taken_over(line, common) for line in (a, b)]
    return common, min((at for at in found if at is not None), default=len(a[0].steps))


def said(states: Sequence[str], subjects: Sequence[str]) -> str:
    """What became of a step's approvals, in words."""
    return ", then ".join(
        _WORDS.get(state, state)
        + (f" by {who}" if who and state in _DECIDED else "")
        + (", but the workspace changed and it was asked about again" if state == "superseded" else "")
        for state, who in zip(states, subjects, strict=True)
    )


_WORDS = {"superseded": "approved", "cancelled": "withdrawn", "pending": "not yet decided"}
_DECIDED = frozenset({"approved", "rejected", "skipped", "edited", "superseded"})


def cost_difference(a: Step, b: Step) -> list[Difference]:
    """Whether two executions of a step cost another sum."""
    x, y = _cost(a.model_calls), _cost(b.model_calls)
    return [Difference("cost", x, y)] if x != y else []


def shown(difference: Difference) -> Difference:
    """With values cut to what people need to see."""
    return Difference(difference.field, _cut(difference.a), _cut(difference.b))


def same_execution(a: Step, b: Step) -> bool:
    """Whether two records of one step of one run are about the same attempt of it."""
    facts = [(s.spec, s.state, s.attempt, s.prepared, s.reply_payload) for s in (a, b)]
    return facts[0] == facts[1]


def _taken_over(line: Sequence[Run], ancestor: str) -> int | None:
    """Of how many steps of an ancestor a run begins with the results; None: it is that run."""
    at: int | None = None
    for run in line:
        if run.run_id == ancestor:
            break
        at = run.inherited if at is None else min(at, run.inherited)
    return at


def _undone(step: Step) -> str:
    gone = step.undone
    if gone is None:
        return ""
    return f"by {gone.undone_by} {gone.operation_id}" + (f" of {gone.by_run}" if gone.by_run else "")


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def _input(step: Step) -> str:
    return canonical_json(dict(step.spec.input)).decode()


def _exit_code(step: Step) -> str:
    code = step.prepared.exit_code if step.prepared else None
    return "" if code is None else str(code)


def _failure(step: Step) -> str:
    return step.failure.reason if step.failure else ""


def _result(step: Step) -> str:
    """The tree the step led to, where it changed anything: after runs have parted, the others' differ by themselves."""
    return step.prepared.result_tree if step.prepared and step.prepared.changes_tree else ""


def _cost(calls: Iterable[ModelCall]) -> str:
    spent = Spent()
    for call in calls:
        spent = spent.plus(call)
    if not spent.calls:
        return ""
    price = "price unknown" if spent.cost_micros is None else f"{spent.cost_micros} micro-USD"
    used = (spent.prompt_tokens or 0) + (spent.completion_tokens or 0)
    return f"{price}, {used} tokens, {spent.calls} model calls"

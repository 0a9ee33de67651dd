"""Writes docs/state-machine.md from the transition tables: `state_machine_doc.py [--check]`.

With `--check` it changes nothing and ends with 1 when the file is not what the tables say.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from interlock.orchestrator.domain.events import REGISTRY
from interlock.orchestrator.domain.model import RUN_FINAL, STEP_FINAL, RunState, StepState
from interlock.orchestrator.domain.transitions import RUN, STEP

TARGET = Path(__file__).resolve().parents[1] / "docs/state-machine.md"

Table = Mapping[str, Mapping[Any, tuple[Any, ...]]]

RUN_STATES: dict[RunState, str] = {
    RunState.CREATED: "It exists and has no steps.",
    RunState.PLANNING: "The planner is asked for steps.",
    RunState.PLANNED: "It has steps and was not started; with `run.waiting`, it starts when its workspace is free.",
    RunState.RUNNING: "A step is under way.",
    RunState.AWAITING_APPROVAL: "The step under way waits for a decision.",
    RunState.PAUSED: "A person, a budget, a single step or a step of unknown outcome holds it.",
    RunState.COMPLETED: "Every step has ended and none stopped the run. Reopened by `run.reopened` alone.",
    RunState.FAILED: "A step stopped it, or there was no new plan. Retrying or skipping that step reopens it.",
    RunState.CANCELLED: "A person ended it. Reopened by `run.reopened` alone.",
}
RUN_LEAVES: dict[RunState, str] = {
    RunState.CREATED: "a person adds steps or asks for a plan",
    RunState.PLANNING: "the planner answers",
    RunState.PLANNED: "a person starts it",
    RunState.RUNNING: "the action under way brings a result",
    RunState.AWAITING_APPROVAL: "a person or rule decides, or the approval expires",
    RunState.PAUSED: "a person resumes it, or executes its next step, once nothing of unknown outcome is left",
    RunState.COMPLETED: "a person, after an undo, adds steps or retries one that was undone",
    RunState.FAILED: "a person retries or skips the step that stopped it",
    RunState.CANCELLED: "a person, after an undo, adds steps or retries one that was undone",
}
STEP_STATES: dict[StepState, str] = {
    StepState.PENDING: "Waits for its turn.",
    StepState.PREPARING: "Is proposed, drafted, or computed in a fork; nothing has taken effect.",
    StepState.AWAITING_APPROVAL: "Waits for a decision about a digest.",
    StepState.APPROVED: "Was approved. It goes on at once, unless its run is PAUSED.",
    StepState.APPLYING: "The intent is recorded; it is executed (gate `command`) or published.",
    StepState.SUCCEEDED: "Done; its effect, if it has one, was published. Whether it was undone since is told beside.",
    StepState.FAILED: "Failed; nothing of it was published.",
    StepState.REJECTED: "A decision refused it.",
    StepState.SKIPPED: "Was passed over.",
    StepState.CANCELLED: "Its run ended before it took effect.",
    StepState.OUTCOME_UNKNOWN: "May or may not have acted outside the workspace; a person has to say.",
}

INTRO = """\
<!-- Written by scripts/state_machine_doc.py from interlock.orchestrator.domain.transitions -->
# The state machine of runs and steps

A run and its steps change only by the events below; `evolve` refuses every other one, so this page is all that can
happen. A command or a result becomes events (`decide_*`), what follows by itself is added (`advance`), all of it is
one transaction, and only then is anything done (`actions`). What is to be done is a function of the state alone: a
process that dies and starts again finds the same actions.
"""
RULES = """\
## Rules that the tables do not show

- A run has at most one step under way. The next one is the lowest-numbered PENDING step; a step that is tried again by
  itself keeps its turn.
- A result counts only while the state wants the action it belongs to; any other leaves only what its model calls cost.
- PAUSED holds back the next step, not the one under way: that goes on to its gate or its end. An approved step waits.
- An edit without a change succeeds without a question: nothing of it could take effect. A command is asked
  about all the same, for its outputs.
- While a run is being cancelled nothing new begins. What is computed is stopped and thrown away, a publish that has
  begun is finished, a question is withdrawn. A stopped command that had network ends OUTCOME_UNKNOWN.
- Nothing starts after a step of unknown outcome until a person has retried or skipped it.
- A FAILED run goes on only when the step that stopped it is retried or skipped.
- A single step (`ExecuteNextStep`) is one step with its own retries, or the step under way if there is one.
- When the workspace moves under a preview, `step.preview_superseded` voids the approval and the next attempt asks anew.
  The approvals of the attempt become SUPERSEDED, and the next question at the same gate names the one it replaces. Ten
  replacements in a row are the most; the step then fails with what was in the way. A retry or an edit counts from 0.
  A command with network that has run is not run again by itself: it fails.
- A run has its workspace from `run.started` to its end, PAUSED included, and while it undoes something. One that
  waits for it (`run.waiting`) is PLANNED; it starts by itself, first come, first served, unless it is cancelled.
- Undoing (`run.rollback_requested`, `step.revert_requested`) is recorded before it happens, one at a time, and only
  while no step is under way other than one that waits for a decision. It changes no state: the steps stay SUCCEEDED,
  and each tells in `undone` which rollback or revert took its effect out of the workspace.
- A rollback is a step back in time: the workspace is at the tree after the step again, with the effects that were in
  it then, and without what came later, reverts included. To a step that an earlier rollback removed it goes forward
  again; not to a tree with an attempt in it of a step that was retried since.
- A revert takes one step's effect out of what there is, three-way, and is refused whole where something else changed
  the same. It needs an effect that is in the workspace. A revert is not reverted: the step is retried.
- Steps that were undone do not run again by themselves. `step.retried` makes one PENDING again, with new gates; a
  COMPLETED or CANCELLED run is PAUSED by that, as by added steps (`run.reopened`), and goes on when it is resumed.
- Every attempt that is given up while the executor may hold or be computing something of it is discarded, also after
  its run has ended.
"""


def render() -> str:
    """The whole page."""
    parts = [
        INTRO,
        "## Runs\n",
        _mermaid(RUN, RUN_FINAL, "CREATED"),
        _states(RUN_STATES, RUN_FINAL, RUN_LEAVES),
        _events("Events that concern the run's state", RUN),
        "## Steps\n",
        _mermaid(STEP, STEP_FINAL, "PENDING"),
        _states(STEP_STATES, STEP_FINAL, None),
        _events("Events that concern a step's state", STEP),
        "`run.cancelled` also makes every PENDING step CANCELLED, and `run.planned` with `replaces_pending` every\n"
        "PENDING step SKIPPED. Events that are in neither table change no state: "
        + ", ".join(f"`{type_}`" for type_ in REGISTRY if type_ not in RUN and type_ not in STEP)
        + ".\n",
        RULES,
    ]
    return "\n".join(parts)


def _mermaid(table: Table, final: frozenset[Any], first: str) -> str:
    edges: dict[tuple[str, str], list[str]] = {}
    for type_, row in table.items():
        for source, targets in row.items():
            for target in targets:
                if source is not target:
                    edges.setdefault((source.value, target.value), []).append(_short(type_))
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {first}"]
    lines += [f"    {source} --> {target}: {_label(names)}" for (source, target), names in edges.items()]
    lines += [f"    {state.value} --> [*]" for state in sorted(final)]
    return "\n".join([*lines, "```", ""])


def _short(type_: str) -> str:
    """The event's name in a drawing: without the noun that the drawing is about."""
    noun, verb = type_.split(".", 1)
    return verb if noun in ("run", "step") else f"{noun} {verb}"


def _label(names: list[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _states(states: Mapping[Any, str], final: frozenset[Any], leaves: Mapping[Any, str] | None) -> str:
    head = ["| state | meaning | final |", "|---|---|---|"]
    if leaves is not None:
        head = ["| state | meaning | final | waits until |", "|---|---|---|---|"]
    rows = []
    for state, meaning in states.items():
        cells = [f"`{state.value}`", meaning, "yes" if state in final else ""]
        rows.append("| " + " | ".join(cells + ([leaves[state]] if leaves is not None else [])) + " |")
    return "\n".join([*head, *rows, ""])


def _events(title: str, table: Table) -> str:
    rows = [line for type_, row in table.items() for line in _rows(type_, row)]
    return "\n".join([f"{title}:\n", "| event | from | to | meaning |", "|---|---|---|---|", *rows, ""])


def _rows(type_: str, row: Mapping[Any, tuple[Any, ...]]) -> Iterator[str]:
    """A line for each set of possible targets; `=` says that the state stays."""
    grouped: dict[str, list[str]] = {}
    for source, targets in row.items():
        to = " or ".join("=" if target is source else f"`{target.value}`" for target in targets)
        grouped.setdefault(to, []).append(f"`{source.value}`")
    meaning = _summary(type_)
    if not row:
        yield f"| `{type_}` | – | `CREATED` | {meaning} |"
    for to, sources in grouped.items():
        yield f"| `{type_}` | {', '.join(sources)} | {to} | {meaning} |"
        meaning = ""


def _summary(type_: str) -> str:
    return " ".join((REGISTRY[type_].__doc__ or "").split())


def main() -> int:
    """Writes or checks the page."""
    text = render()
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(text)
        return 0
    if TARGET.exists() and TARGET.read_text() == text:
        return 0
    sys.stderr.write("docs/state-machine.md is not current: run python scripts/state_machine_doc.py\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())

"""Two runs beside one another."""

from __future__ import annotations

import sys

from interlock.cli.output import progress, show_one, write_fields, write_table
from interlock.cli.settings import Settings
from interlock.cli.show.diff import print_diff
from interlock.cli.show.workspaces import change_line
from interlock.cli.text import cost_text, counted, enum_text, first_line, short_digest
from interlock.v1.fork_pb2 import CompareRunsResponse, StepComparison, StepRelation
from interlock.v1.run_pb2 import Run, RunState
from interlock.v1.step_pb2 import StepState

_SHOWN_CHANGES = 50
_RELATIONS = {
    StepRelation.STEP_RELATION_SHARED: "one for both",
    StepRelation.STEP_RELATION_SAME: "same result",
    StepRelation.STEP_RELATION_DIFFERENT: "different",
    StepRelation.STEP_RELATION_ONLY_A: "only in a",
    StepRelation.STEP_RELATION_ONLY_B: "only in b",
}
"""How two steps stand to one another, in words."""


def show_comparison(settings: Settings, found: CompareRunsResponse, *, diff: bool) -> None:
    """Where they part, the steps, the trees at the end, the costs."""
    show_one(settings, found, lambda: _people(found, diff))


def _people(found: CompareRunsResponse, diff: bool) -> None:
    write_fields(
        [
            ("a", _run_line(found.run_a)),
            ("b", _run_line(found.run_b)),
            ("both begin", _beginning(found)),
            ("in common", _common(found)),
            ("they part", _parting(found)),
            ("cost of a", cost_text(found.run_a.cost)),
            ("cost of b", cost_text(found.run_b.cost)),
        ]
    )
    if found.steps:
        print()
        write_table(("STEP", "IS", "A", "B", "WHAT", "DIFFERS IN"), [_row(row) for row in found.steps])
    if len(found.steps) < found.steps_total:
        progress(f"{len(found.steps)} of {found.steps_total} steps are shown.")
    print()
    _trees(found, diff)


def _run_line(run: Run) -> str:
    line = f"{run.run_id}  {enum_text(RunState, run.state)}  {first_line(run.goal, 60)}"
    if not run.origin.run_id:
        return line
    return f"{line}  (fork of {run.origin.run_id} after step {run.origin.at_step})"


def _beginning(found: CompareRunsResponse) -> str:
    """Where one is a fork of the other, or both of a third: with what both began."""
    if not found.common_ancestor:
        return ""
    if not found.common_until_step:
        return f"with the tree before the first step of {found.common_ancestor}"
    steps = "step 1" if found.common_until_step == 1 else f"steps 1 to {found.common_until_step}"
    return f"with {steps} of {found.common_ancestor}"


def _common(found: CompareRunsResponse) -> str:
    if not found.common_steps:
        return "no step, from the first on"
    first = "the first step" if found.common_steps == 1 else f"the first {found.common_steps} steps"
    ran = found.common_steps - found.shared_steps
    if not found.shared_steps:
        return f"{first}, carried out in both with the same result"
    if not ran:
        return f"{first}, carried out once for both"
    return f"{first}: {found.shared_steps} carried out once for both, {ran} in each with the same result"


def _parting(found: CompareRunsResponse) -> str:
    if not found.first_difference:
        return "nowhere"
    row = next((each for each in found.steps if each.step == found.first_difference), StepComparison())
    if row.relation in (StepRelation.STEP_RELATION_ONLY_A, StepRelation.STEP_RELATION_ONLY_B):
        return f"at step {row.step}, which {'b' if row.title_a else 'a'} does not have"
    details = "; ".join(f"{d.field} {_short(d.a)} / {_short(d.b)}" for d in row.differences[:3])
    return f"at step {row.step}: {details}"


def _row(row: StepComparison) -> tuple[str, ...]:
    what = row.title_a if row.title_a == row.title_b or not row.title_b else row.title_b
    if row.title_a and row.title_b and row.title_a != row.title_b:
        what = f"{first_line(row.title_a, 40)} / {first_line(row.title_b, 40)}"
    relation = _RELATIONS.get(row.relation, enum_text(StepRelation, row.relation))
    states = [
        enum_text(StepState, state) if title else ""
        for state, title in ((row.state_a, row.title_a), (row.state_b, row.title_b))
    ]
    details = "; ".join(f"{d.field}: {_short(d.a)} / {_short(d.b)}" for d in row.differences)
    return str(row.step), relation, states[0], states[1], first_line(what, 60), details


def _short(value: str) -> str:
    """A value in few characters: digests as people compare them."""
    if not value:
        return "none"
    return short_digest(value) if value.startswith("sha256:") else first_line(value, 50)


def _trees(found: CompareRunsResponse, diff: bool) -> None:
    trees = found.trees
    if trees.unavailable:
        print(f"trees: not compared. {first_line(trees.unavailable, 300)}")
        return
    if trees.tree_a == trees.tree_b:
        print(f"trees: the same, {short_digest(trees.tree_a)}")
        return
    paths = counted(trees.changes_total, "path")
    print(f"trees: {short_digest(trees.tree_a)} → {short_digest(trees.tree_b)}, {paths} differ")
    if diff:
        print_diff(trees.diff, sys.stdout)
        if trees.diff_truncated:
            progress("The diff is cut; not everything is shown.")
        return
    for change in trees.changes[:_SHOWN_CHANGES]:
        print(f"  {change_line(change)}")
    if trees.changes_total > _SHOWN_CHANGES:
        print(f"  … and {trees.changes_total - _SHOWN_CHANGES} more; --diff shows their content")

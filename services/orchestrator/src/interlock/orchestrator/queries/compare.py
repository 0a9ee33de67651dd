"""CompareRuns: where two runs part."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from interlock.common.client import rpc_errors
from interlock.common.errors import InterlockError
from interlock.orchestrator.convert import texts, views
from interlock.orchestrator.convert.texts import cut_lines
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.domain.comparing import (
    Decisions,
    Difference,
    cost_difference,
    differences,
    said,
    same_execution,
    shared_beginning,
    shown,
    undone_difference,
)
from interlock.orchestrator.domain.model import Run, Step
from interlock.orchestrator.store.readers import approvals
from interlock.v1 import executor_pb2, step_pb2
from interlock.v1 import fork_pb2 as f

ROWS = 2000
_BEFORE = 1000
_CHANGES = 1000
_GENERATIONS = 100
_DIFF_SECONDS = 120.0


async def compare_runs(deps: Deps, message: f.CompareRunsRequest) -> f.CompareRunsResponse:
    """Step by step up to the first difference and beyond it, the trees at the end, and the costs."""
    a = await _Side.read(deps, message.run_a)
    b = await _Side.read(deps, message.run_b)
    response = f.CompareRunsResponse(
        run_a=views.run(a.run),
        run_b=views.run(b.run),
        steps_total=max(len(a.run.steps), len(b.run.steps)),
    )
    beginning = shared_beginning(a.line, b.line)
    if beginning is not None:
        response.common_ancestor, response.common_until_step = beginning
    await _add_steps(deps, a, b, response)
    response.trees.CopyFrom(await _trees(deps, a.run, b.run))
    return response


class _Side:
    """A run with those it is a fork of, nearest first, and what was decided in it."""

    def __init__(self, line: list[Run], decisions: dict[int, Decisions]) -> None:
        self.run, self.line, self.decisions = line[0], line, decisions

    @classmethod
    async def read(cls, deps: Deps, run_id: str) -> _Side:
        line = [await deps.book.refresh(run_id)]
        while line[-1].fork is not None and len(line) < _GENERATIONS:
            line.append(await deps.book.get(line[-1].fork.run_id))
        return cls(line, await _decisions(deps, run_id))

    def origin(self, number: int) -> str:
        """The run in which the step was carried out."""
        for run in self.line:
            step = run.step(number)
            if step is None or not step.inherited:
                return run.run_id
        return self.line[-1].run_id


async def _decisions(deps: Deps, run_id: str) -> dict[int, Decisions]:
    found: dict[int, list[approvals.ApprovalRow]] = {}
    after = ""
    while rows := await approvals.of_run(deps.database, run_id, after=after):
        for row in rows:
            found.setdefault(row.step, []).append(row)
        after = rows[-1].id
    return {
        step: Decisions(
            tuple(row.state for row in rows),
            said([row.state for row in rows], [row.subject for row in rows]),
        )
        for step, rows in found.items()
    }


async def _add_steps(deps: Deps, a: _Side, b: _Side, response: f.CompareRunsResponse) -> None:
    rows: deque[f.StepComparison] = deque(maxlen=_BEFORE)
    shared_so_far = True
    for number in range(1, response.steps_total + 1):
        row = await _row(deps, a, b, number)
        alike = row.relation in (f.STEP_RELATION_SHARED, f.STEP_RELATION_SAME)
        if not response.first_difference:
            shared_so_far = shared_so_far and row.relation == f.STEP_RELATION_SHARED
            response.common_steps += alike
            response.shared_steps += shared_so_far
            if not alike:
                response.first_difference = number
                rows = deque(rows)
        rows.append(row)
        if response.first_difference and len(rows) >= ROWS:
            break
    response.steps.extend(rows)


async def _row(deps: Deps, a: _Side, b: _Side, number: int) -> f.StepComparison:
    x, y = a.run.step(number), b.run.step(number)
    row = f.StepComparison(step=number)
    for step, side in ((x, "a"), (y, "b")):
        if step is not None:
            setattr(row, f"title_{side}", views.title(step.spec))
            setattr(row, f"state_{side}", step_pb2.StepState.Value(f"STEP_STATE_{step.state.name}"))
            getattr(row, f"cost_{side}").CopyFrom(views.cost_of(step.model_calls))
    if x is None or y is None:
        row.relation = f.STEP_RELATION_ONLY_B if x is None else f.STEP_RELATION_ONLY_A
        return row
    if a.origin(number) == b.origin(number) and same_execution(x, y):
        row.relation = f.STEP_RELATION_SHARED
        for each in undone_difference(x, y):
            row.differences.add(field=each.field, a=each.a, b=each.b)
        return row
    nothing = Decisions()
    told = differences(x, y, a.decisions.get(number, nothing), b.decisions.get(number, nothing))
    found = [each for each in told if not await _same_text(deps, x, y, each.field)]
    found += await _outputs(deps, x, y)
    row.relation = f.STEP_RELATION_DIFFERENT if found else f.STEP_RELATION_SAME
    for each in map(shown, (*found, *undone_difference(x, y), *cost_difference(x, y))):
        row.differences.add(field=each.field, a=each.a, b=each.b)
    return row


async def _same_text(deps: Deps, a: Step, b: Step, field: str) -> bool:
    """Whether what has other digests is the same text all the same: each payload has a salt of its own."""
    if field == "reply":
        found = await deps.payloads.get([a.reply_payload, b.reply_payload])
        return len(found) == 2 and found[a.reply_payload] == found[b.reply_payload]
    if field != "input" or a.spec.kind is not b.spec.kind:
        return False
    wanted = [texts.references(step.spec.input) for step in (a, b)]
    bodies = await deps.payloads.get([*wanted[0], *wanted[1]])
    if not wanted[0] or len(bodies) < len({*wanted[0], *wanted[1]}):
        return False
    return texts.inline(a.spec.input, bodies) == texts.inline(b.spec.input, bodies)


async def _outputs(deps: Deps, a: Step, b: Step) -> list[Difference]:
    """What the effects show to be different: digests of everything that was read or written."""
    if a.prepared is None or b.prepared is None:
        return []
    wanted = (a.prepared.effect_payload, b.prepared.effect_payload)
    if wanted[0] == wanted[1]:
        return []
    bodies = await deps.payloads.get(wanted)
    x, y = views.effect(a.prepared, bodies), views.effect(b.prepared, bodies)
    assert x is not None
    assert y is not None
    pairs = [(name, getattr(x, name).digest, getattr(y, name).digest) for name in _STREAMS]
    return [Difference(name, left, right) for name, left, right in pairs if left != right]


_STREAMS: Sequence[str] = ("content", "stdout", "stderr")


async def _trees(deps: Deps, a: Run, b: Run) -> f.TreeDifference:
    trees = f.TreeDifference(tree_a=a.head_tree or a.base_tree, tree_b=b.head_tree or b.base_tree)
    if trees.tree_a == trees.tree_b or not (trees.tree_a and trees.tree_b):
        untouched = not (trees.tree_a and trees.tree_b)
        trees.unavailable = "One of the runs has not touched its workspace." if untouched else ""
        return trees
    request = executor_pb2.DiffTreesRequest(
        workspace_id=a.workspace_id,
        from_tree=trees.tree_a,
        to_tree=trees.tree_b,
        to_workspace_id=b.workspace_id,
    )
    try:
        executor = await deps.executor.at(a.workspace_id)
        with rpc_errors("executor"):
            diff = await executor.stub.DiffTrees(request, timeout=_DIFF_SECONDS)
    except InterlockError as error:
        trees.unavailable = f"{error.reason.value}: {error.message}"
        return trees
    trees.changes.extend(diff.changes[:_CHANGES])
    trees.changes_total = diff.changes_total
    trees.diff, cut = cut_lines(diff.diff)
    trees.diff_truncated = diff.diff_truncated or cut
    return trees

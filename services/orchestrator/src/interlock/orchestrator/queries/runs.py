"""Runs, steps and costs, as people see them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from interlock.common.digests import digest_text
from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import current_identity
from interlock.common.paging import decode_page_token, encode_page_token, page_size
from interlock.orchestrator.convert import texts, views
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.domain.model import ModelCall, Run, Step
from interlock.orchestrator.store import archives
from interlock.orchestrator.store.archives import ArchiveRow
from interlock.orchestrator.store.readers import later, others, runs
from interlock.v1 import cost_pb2, run_pb2, step_pb2
from interlock.v1 import orchestrator_pb2 as o

CUT_BYTES = 16 * 1024
_DRIVEN = ("RUNNING", "PLANNING")
"""States that want something done, unless the run was set aside."""

_MAX_VIEW_BYTES = 10 * 1024 * 1024
_STEPS_AT_ONCE = 25


async def get_run(deps: Deps, message: o.GetRunRequest) -> o.GetRunResponse:
    """The run with its steps, large outputs cut."""
    archived = await archives.of(deps.database, [message.run_id])
    if archived:
        row = await runs.get(deps.database, message.run_id)
        return o.GetRunResponse(run=_row_view(row, {}, archived))
    run = await deps.book.refresh(message.run_id)
    steps = [] if message.without_steps else await step_views(deps, run, run.steps)
    view = views.run(run, steps)
    line = await others.line(deps.database, run.run_id) if run.waiting else None
    if line is not None:
        view.waiting.holder_run_id, view.waiting.ahead = line
    return o.GetRunResponse(run=view)


async def get_step(deps: Deps, message: o.GetStepRequest) -> o.GetStepResponse:
    """One step with everything that was kept of it."""
    run = await deps.book.refresh(message.run_id)
    step = run.step(message.step)
    if step is None:
        raise InterlockError(
            Reason.STEP_NOT_FOUND,
            f"The run {run.run_id} has {len(run.steps)} steps; there is no step {message.step}.",
            field="step",
        )
    return o.GetStepResponse(step=await step_view(deps, run, step, whole=True))


async def list_steps(deps: Deps, message: o.ListStepsRequest) -> o.ListStepsResponse:
    """A page of steps by number."""
    scope = f"ListSteps/{message.run_id}"
    after = decode_page_token(scope, message.page_token).integer("after") if message.page_token else 0
    run = await deps.book.refresh(message.run_id)
    size = page_size(message.page_size, default=100, maximum=1000)
    page = run.steps[after : after + size]
    more = after + size < len(run.steps)
    token = encode_page_token(scope, {"after": after + size}) if more else ""
    return o.ListStepsResponse(steps=await step_views(deps, run, page), next_page_token=token)


async def list_runs(deps: Deps, message: o.ListRunsRequest) -> o.ListRunsResponse:
    """A page of runs, newest first."""
    states = sorted(run_pb2.RunState.Name(s).removeprefix("RUN_STATE_") for s in message.states)
    labels = dict(message.labels)
    scope = f"ListRuns/{states}/{message.workspace_id}/{sorted(labels.items())}"
    if message.run_id_prefix:
        scope += f"/{message.run_id_prefix}"
    before = decode_page_token(scope, message.page_token).text("before") if message.page_token else None
    size = page_size(message.page_size, default=100, maximum=1000)
    rows = await runs.list_runs(
        deps.database,
        states=states,
        workspace_id=message.workspace_id or None,
        labels=labels,
        prefix=message.run_id_prefix,
        scope=current_identity().scope,
        after=before,
        limit=size,
    )
    token = encode_page_token(scope, {"before": rows[-1].id}) if len(rows) == size else ""
    undone = await _undone(deps, [row.id for row in rows])
    gone = await archives.of(deps.database, [row.id for row in rows if not row.seq])
    found = [_row_view(row, undone, gone) for row in rows]
    for row, view in zip(rows, found, strict=True):
        if row.state in _DRIVEN and not row.needs_driver:
            view.set_aside.MergeFrom(views.set_aside(await deps.book.refresh(row.id)) or run_pb2.SetAside())
    return o.ListRunsResponse(runs=found, next_page_token=token)


async def _undone(deps: Deps, run_ids: list[str]) -> dict[str, int]:
    """How many steps were undone, of the few runs of which any was."""
    found = await later.undone(deps.database, run_ids)
    return {run_id: views.steps_undone(await deps.book.refresh(run_id)) for run_id in found}


async def get_cost(deps: Deps, message: o.GetCostRequest) -> o.GetCostResponse:
    """What the run cost, in all and per step that asked a model; step 0 is planning."""
    run = await deps.book.refresh(message.run_id)
    response = o.GetCostResponse(total=views.cost(run.spent))
    if run.model_calls:
        response.steps.add(step=0, cost=views.cost_of(run.model_calls))
    for step in run.steps:
        if step.model_calls:
            kind = step_pb2.StepKind.Value(f"STEP_KIND_{step.spec.kind.name}")
            response.steps.add(step=step.number, kind=kind, cost=views.cost_of(step.model_calls))
    groups: dict[tuple[str, str, str], list[ModelCall]] = {}
    for call in (*run.model_calls, *(call for step in run.steps for call in step.model_calls)):
        groups.setdefault((call.purpose, call.gateway, call.model), []).append(call)
    for (purpose, gateway, model), calls in sorted(groups.items()):
        response.models.add(purpose=purpose, gateway=gateway, model=model, cost=views.cost_of(calls))
    return response


async def step_view(deps: Deps, run: Run, step: Step, *, whole: bool = False) -> step_pb2.Step:
    """A step with its texts and effect; outputs are cut unless it is to be whole."""
    view = views.step(run, step, await deps.payloads.get(_references(step)))
    return view if whole else cut(view)


async def step_views(deps: Deps, run: Run, steps: Iterable[Step]) -> list[step_pb2.Step]:
    """Steps with outputs cut; once the answer is large, later steps come with their facts alone."""
    out: list[step_pb2.Step] = []
    size, left = 0, iter(steps)
    while several := tuple(islice(left, _STEPS_AT_ONCE)):
        large = size > _MAX_VIEW_BYTES
        wanted = [] if large else [digest for step in several for digest in _references(step)]
        found = await deps.payloads.get(wanted)
        for step in several:
            large = size > _MAX_VIEW_BYTES
            view = views.step(run, step, {}) if large else cut(views.step(run, step, found))
            size += view.ByteSize()
            out.append(view)
    return out


def cut(view: step_pb2.Step) -> step_pb2.Step:
    """Shortens a step's large outputs in place; totals and digests still cover everything."""
    effect = view.effect
    for output in (effect.stdout, effect.stderr, effect.content):
        kept = len(output.head) + len(output.tail)
        if kept > 2 * CUT_BYTES:
            everything = output.head + output.tail
            output.head, output.tail = everything[:CUT_BYTES], everything[-CUT_BYTES:]
            output.truncated = True
    if len(effect.diff) > 4 * CUT_BYTES:
        effect.diff = effect.diff[: 4 * CUT_BYTES].rpartition("\n")[0] + "\n"
        effect.diff_truncated = True
    return view


def _references(step: Step) -> Sequence[str]:
    shown = [step.prepared.effect_payload] if step.prepared else []
    return [*texts.references(step.spec.input), step.reply_payload, *shown]


def _row_view(row: runs.RunRow, undone: Mapping[str, int], archived: Mapping[str, ArchiveRow]) -> run_pb2.Run:
    gone = archived.get(row.id)
    total = None if row.cost_micros is None else cost_pb2.Money(micros=row.cost_micros)
    return run_pb2.Run(
        run_id=row.id,
        goal=row.goal,
        workspace_id=row.workspace_id or "",
        state=run_pb2.RunState.Value(f"RUN_STATE_{row.state}"),
        steps_total=row.steps,
        steps_done=row.steps_done,
        labels=dict(row.labels),
        cost=cost_pb2.Cost(total=total),
        journal_length=gone.seq if gone else row.seq,
        journal_head="sha256:" + row.head_hash.hex(),
        created_at=views.timestamp(row.created_at),
        updated_at=views.timestamp(row.updated_at),
        steps_undone=undone.get(row.id, 0),
        archived=_archive(gone) if gone else None,
    )


def _archive(gone: ArchiveRow) -> run_pb2.RunArchive:
    digest = digest_text(gone.bundle)
    return run_pb2.RunArchive(at=views.timestamp(gone.at), by=gone.by, bundle_digest=digest, place=gone.place)

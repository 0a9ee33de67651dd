"""Messages of ``interlock.v1`` ⇄ the planner's domain; the only module that knows both."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.duration_pb2 import Duration

from interlock.common.digests import sha256_text
from interlock.common.errors import InterlockError, Reason
from interlock.common.plan import wire
from interlock.planner.commands.asking import Allowance
from interlock.planner.commands.live import Piece
from interlock.planner.commands.models import Terms
from interlock.planner.domain.model import (
    DEFAULT_MAX_STEPS,
    AnswerTask,
    ContextFile,
    ContextResult,
    DraftTask,
    Exchange,
    Limits,
    PassedGateway,
    PlanTask,
    ReplyKey,
)
from interlock.planner.gateways.recorded import Record
from interlock.planner.queries.capabilities import Capabilities, Found
from interlock.v1 import cost_pb2, planner_pb2, step_pb2


def plan_task(request: planner_pb2.PlanRequest) -> PlanTask:
    """The task of a Plan request."""
    return PlanTask(
        goal=request.goal,
        files=_files(request.files),
        additional_context=request.additional_context,
        max_steps=request.max_steps or DEFAULT_MAX_STEPS,
        policy=wire.plan_policy(request.policy) if request.HasField("policy") else None,
        problems=tuple(request.problems),
        limits=_limits(request.limits),
    )


def replan_task(request: planner_pb2.ReplanRequest) -> PlanTask:
    """The task of a Replan request. Raises INVALID_ARGUMENT when nothing says why to plan again."""
    if not (request.feedback or request.going_on):
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            "Nothing says why to plan again.",
            field="feedback",
            fix="Say what is wrong with the plan, or set going_on.",
        )
    return PlanTask(
        goal=request.goal,
        files=_files(request.files),
        max_steps=request.max_steps or DEFAULT_MAX_STEPS,
        policy=wire.plan_policy(request.policy) if request.HasField("policy") else None,
        results=_results(request.results),
        remaining=tuple(wire.plan_step(spec) for spec in request.remaining),
        feedback=request.feedback,
        problems=tuple(request.problems),
        limits=_limits(request.limits),
        going_on=request.going_on,
    )


def _limits(given: planner_pb2.PlanningLimits) -> Limits:
    return Limits(
        model_calls=given.model_calls if given.HasField("model_calls") else None,
        cost_micros=given.cost_micros if given.HasField("cost_micros") else None,
        call_micros=given.call_micros,
    )


def answer_task(request: planner_pb2.AnalyzeRequest | planner_pb2.SummarizeRequest) -> AnswerTask:
    """The task of an Analyze or Summarize request."""
    return AnswerTask(request.instruction, request.goal, _results(request.results))


def draft_task(request: planner_pb2.DraftEditRequest) -> DraftTask:
    """The task of a DraftEdit request."""
    return DraftTask(
        path=request.path,
        instruction=request.instruction,
        current=request.current_content,
        goal=request.goal,
        results=_results(request.results),
    )


def terms(message: planner_pb2.ModelTerms) -> Terms:
    """On which terms a model may be asked."""
    return Terms(
        record=_record(message.record) if message.HasField("record") else None,
        failure_as_data=message.failure_as_data,
        allowance=Allowance(message.max_cost_micros, message.unpriced_call_micros)
        if message.HasField("max_cost_micros")
        else None,
        live=reply_key(message.live) if message.HasField("live") else None,
    )


def reply_key(message: planner_pb2.ReplyKey) -> ReplyKey:
    """Which question's reply."""
    return ReplyKey(message.run_id, message.step, message.attempt)


def reply_piece(key: ReplyKey, piece: Piece) -> planner_pb2.StreamReplyResponse:
    """A piece of a reply as live output."""
    chunk = step_pb2.OutputChunk(
        run_id=key.run_id,
        step=key.step,
        attempt=key.attempt,
        stream=step_pb2.OUTPUT_STREAM_REPLY,
        offset=piece.offset,
        data=piece.data,
    )
    chunk.at.FromDatetime(piece.at)
    return planner_pb2.StreamReplyResponse(chunk=chunk)


def failure(error: InterlockError) -> step_pb2.StepFailure:
    """An error as data."""
    return step_pb2.StepFailure(
        reason=error.reason.value,
        message=error.message,
        field=error.field,
        fix=error.fix,
        metadata=error.metadata,
    )


def _record(message: planner_pb2.ReplyRecord) -> Record:
    return Record(message.origin or "the record", tuple(_recorded(each) for each in message.exchanges))


def _recorded(message: planner_pb2.ModelExchange) -> Exchange:
    call, cost = message.call, message.call.cost
    return Exchange(
        purpose=call.purpose,
        gateway=call.gateway,
        model=call.model,
        prompt_version=call.prompt_version,
        request=message.request,
        prompt=message.prompt,
        reply=message.reply,
        finish_reason=call.finish_reason,
        latency_ms=call.latency.ToMilliseconds(),
        prompt_tokens=cost.prompt_tokens if cost.HasField("prompt_tokens") else None,
        completion_tokens=cost.completion_tokens if cost.HasField("completion_tokens") else None,
        cost_micros=cost.total.micros if cost.HasField("total") else None,
        cache_hit=call.cache_hit if call.HasField("cache_hit") else None,
        passed_over=tuple(PassedGateway(each.gateway, each.reason) for each in call.passed_over),
    )


def exchanges(made: Iterable[Exchange]) -> list[planner_pb2.ModelExchange]:
    """Model calls, with the digests under which they are journaled."""
    return [
        planner_pb2.ModelExchange(
            call=_call(exchange), prompt=exchange.prompt, reply=exchange.reply, request=exchange.request
        )
        for exchange in made
    ]


def capabilities(found: Capabilities) -> planner_pb2.GetCapabilitiesResponse:
    """The response of GetCapabilities."""
    first = found.first
    return planner_pb2.GetCapabilitiesResponse(
        gateway=first.info.name,
        models=found.models,
        base_url=first.info.base_url,
        available=first.available,
        notice=first.info.notice,
        max_prompt_chars=first.info.max_prompt_chars,
        gateways=[_gateway(each) for each in found.gateways],
        routes=[
            planner_pb2.ModelRoute(purpose=purpose, gateways=names) for purpose, names in found.routes.items()
        ],
    )


def _gateway(found: Found) -> planner_pb2.ModelGateway:
    info, standing = found.info, found.standing
    gateway = planner_pb2.ModelGateway(
        name=info.name,
        kind=info.kind,
        model=info.model,
        base_url=info.base_url,
        available=found.available,
        notice=info.notice,
        failures=standing.failures,
        under_way=standing.under_way,
        concurrency=standing.concurrency,
    )
    if standing.refused_for_s is not None:
        gateway.refused_for.FromMilliseconds(round(standing.refused_for_s * 1000))
    return gateway


def _call(exchange: Exchange) -> step_pb2.ModelCall:
    call = step_pb2.ModelCall(
        purpose=exchange.purpose,
        gateway=exchange.gateway,
        model=exchange.model,
        prompt_version=exchange.prompt_version,
        prompt_digest=sha256_text(exchange.prompt),
        reply_digest=sha256_text(exchange.reply),
        request_digest=sha256_text(exchange.request),
        finish_reason=exchange.finish_reason,
        cost=_cost(exchange),
        latency=Duration(seconds=exchange.latency_ms // 1000, nanos=exchange.latency_ms % 1000 * 1_000_000),
        passed_over=[
            step_pb2.PassedGateway(gateway=each.gateway, reason=each.reason) for each in exchange.passed_over
        ],
    )
    if exchange.cache_hit is not None:
        call.cache_hit = exchange.cache_hit
    return call


def _cost(exchange: Exchange) -> cost_pb2.Cost:
    cost = cost_pb2.Cost(model_calls=1, unpriced_calls=int(exchange.cost_micros is None))
    if exchange.cost_micros is not None:
        cost.total.micros = exchange.cost_micros
        cost.total.SetInParent()  # a price of 0 is known, an absent one is not
    if exchange.prompt_tokens is not None:
        cost.prompt_tokens = exchange.prompt_tokens
    if exchange.completion_tokens is not None:
        cost.completion_tokens = exchange.completion_tokens
    return cost


def _files(files: Iterable[planner_pb2.ContextFile]) -> tuple[ContextFile, ...]:
    return tuple(ContextFile(file.path, file.size, file.content) for file in files)


def _results(results: Iterable[planner_pb2.ContextResult]) -> tuple[ContextResult, ...]:
    return tuple(
        ContextResult(
            key=result.key,
            kind=_word(step_pb2.StepKind.Name(result.kind), "STEP_KIND_"),
            title=result.title,
            state=_word(step_pb2.StepState.Name(result.state), "STEP_STATE_"),
            text=result.text,
        )
        for result in results
    )


def _word(name: str, prefix: str) -> str:
    word = name.removeprefix(prefix).lower()
    return "" if word == "unspecified" else word

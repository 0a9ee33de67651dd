"""Answers of the executor and the planner → domain values, and requests to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf import json_format

from interlock.orchestrator.convert import views
from interlock.orchestrator.convert.texts import TEXT, payload
from interlock.orchestrator.domain.model import (
    Failure,
    Gate,
    Kept,
    ModelCall,
    PassedGateway,
    Prepared,
    Reviewed,
    StepKind,
    StepSpec,
    Superseded,
)
from interlock.orchestrator.store.records import Payload
from interlock.v1 import executor_pb2, planner_pb2, step_pb2

EFFECT = "application/protobuf; type=interlock.v1.Effect"
_MODEL_JSON = "application/json"
_FLAT = frozenset({StepKind.READ_FILE, StepKind.EDIT_FILE})
"""Kinds whose input is texts and small numbers: it is the message's fields as it is, without being read as JSON."""
_MODEL_REPLY = "application/octet-stream"


def effect(
    message: step_pb2.Effect, limits: step_pb2.Limits, *, with_result: bool = True
) -> tuple[Prepared, list[Payload]]:
    """What a decision is bound to, and the whole effect as a payload."""
    digest, kept = payload(message.SerializeToString(deterministic=True), EFFECT)
    facts = Prepared(
        request_digest=message.request_digest,
        base_tree=message.base_tree,
        effect_payload=digest,
        effect_digest=message.effect_digest if with_result else "",
        result_tree=message.result_tree if with_result else "",
        exit_code=message.exit_code if message.HasField("exit_code") else None,
        limits=json_format.MessageToDict(limits, preserving_proto_field_name=True)
        if limits.ListFields()
        else {},
    )
    return facts, [kept]


def changed_since(
    reviewed: Reviewed, why: Superseded | None, earlier: step_pb2.Effect, later: step_pb2.Effect
) -> step_pb2.ChangedSince:
    """Which approval a preview comes after, and what but files differs from what that one showed."""
    out = step_pb2.ChangedSince(
        approval_id=reviewed.approval.approval_id,
        attempt=reviewed.approval.attempt,
        reason=why.reason if why else "",
        paths=why.paths if why else (),
    )
    if reviewed.approval.gate is Gate.COMMAND:
        return out
    for name in ("exit_code", "signal"):
        if _number(earlier, name) != _number(later, name):
            out.differs.append(name)
    for name in ("stdout", "stderr"):
        if getattr(earlier, name).digest != getattr(later, name).digest:
            out.differs.append(name)
    return out


def _number(effect: step_pb2.Effect, name: str) -> int | None:
    absent = name == "exit_code" and not effect.HasField("exit_code")
    return None if absent else getattr(effect, name)


def failure(message: step_pb2.StepFailure) -> Failure:
    """Why a step failed in its fork."""
    return Failure(message.reason, message.message, message.field, message.fix, dict(message.metadata))


def calls(exchanges: Iterable[planner_pb2.ModelExchange]) -> tuple[list[ModelCall], list[Payload]]:
    """What is journaled of model calls, and their prompts and replies."""
    out, payloads = [], []
    for exchange in exchanges:
        prompt, kept_prompt = payload(exchange.prompt, _MODEL_JSON)
        reply, kept_reply = payload(exchange.reply, _MODEL_REPLY)
        request, kept_request = payload(exchange.request, _MODEL_JSON)
        payloads += [kept_prompt, kept_reply, kept_request]
        out.append(_call(exchange.call, prompt, reply, request))
    return out, payloads


def exchange(call: ModelCall, bodies: Mapping[str, bytes]) -> planner_pb2.ModelExchange:
    """A journaled call as the planner takes it for a recorded reply."""
    return planner_pb2.ModelExchange(
        call=views.model_call(call),
        prompt=bodies[call.prompt_payload],
        reply=bodies[call.reply_payload],
        request=bodies[call.request_payload],
    )


def failed_calls(told: Mapping[str, str]) -> tuple[list[ModelCall], list[Payload]]:
    """Model calls of a question that failed in the end, from its error's metadata: what they cost is not lost.

    The error tells their number and their cost together, so the first priced one carries the whole known cost.
    """
    count, unpriced = int(told.get("model_calls", "0")), int(told.get("unpriced_calls", "0"))
    known = int(told["cost_micros"]) if "cost_micros" in told else None
    reply, kept = payload(told.get("raw_reply", "").encode(), TEXT)
    out = []
    for index in range(count):
        priced = index < count - unpriced
        out.append(
            ModelCall(
                purpose=told.get("purpose", ""),
                gateway=told.get("gateway", ""),
                model="",
                prompt_version=told.get("prompt_version", ""),
                reply_payload=reply if index == count - 1 else "",
                finish_reason="unusable",
                cost_micros=(known if index == 0 else 0) if priced else None,
            )
        )
    return out, [kept] if out else []


def _call(message: step_pb2.ModelCall, prompt: str, reply: str, request: str) -> ModelCall:
    cost = message.cost
    return ModelCall(
        purpose=message.purpose,
        gateway=message.gateway,
        model=message.model,
        prompt_version=message.prompt_version,
        prompt_payload=prompt,
        reply_payload=reply,
        finish_reason=message.finish_reason,
        prompt_tokens=cost.prompt_tokens if cost.HasField("prompt_tokens") else None,
        completion_tokens=cost.completion_tokens if cost.HasField("completion_tokens") else None,
        cost_micros=cost.total.micros if cost.HasField("total") else None,
        latency_us=message.latency.ToMicroseconds(),
        cache_hit=message.cache_hit if message.HasField("cache_hit") else None,
        request_payload=request,
        passed_over=tuple(PassedGateway(each.gateway, each.reason) for each in message.passed_over),
    )


def action(spec: StepSpec, fields: Mapping[str, Any], draft: str | None) -> executor_pb2.Action:
    """What the executor is asked to do; `fields` is the input with its texts, `draft` a drafted content."""
    name = spec.kind.value
    if spec.kind is StepKind.EDIT_FILE and draft is not None:
        fields = {"path": fields["path"], "new_content": draft}
    try:
        if spec.kind in _FLAT:
            return executor_pb2.Action(**{name: dict(fields)})  # type: ignore[arg-type]  # see _FLAT
    except (TypeError, ValueError):
        pass  # a form that only the JSON reader knows
    return json_format.ParseDict({name: dict(fields)}, executor_pb2.Action())


def kept(
    response: executor_pb2.ApplyResponse | executor_pb2.RestoreTreeResponse | executor_pb2.RevertTreeResponse,
) -> Kept:
    """What a publication left alone."""
    return Kept(tuple(response.kept_paths), response.kept_total)

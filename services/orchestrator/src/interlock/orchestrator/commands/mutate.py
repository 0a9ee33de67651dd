"""The common course of a mutation: decide, append, answer; a repeated `request_id` gets the first answer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from google.protobuf.message import Message

from interlock.common.identity import current_identity
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.domain.model import Run
from interlock.orchestrator.runs.transaction import Decide, Outcome, Request
from interlock.orchestrator.store.records import Payload

Response = TypeVar("Response", bound=Message)


def request_of(message: Any, respond: Callable[[Run], Message]) -> Request:
    """The mutation's name, id and fingerprint (SHA-256 of the message without its id)."""
    plain = type(message)()
    plain.CopyFrom(message)
    plain.ClearField("request_id")
    fingerprint = hashlib.sha256(plain.SerializeToString(deterministic=True)).digest()
    return Request(
        method=message.DESCRIPTOR.name.removesuffix("Request"),
        request_id=message.request_id,
        fingerprint=fingerprint,
        respond=lambda run: respond(run).SerializeToString(deterministic=True),
    )


async def change(
    deps: Deps,
    message: Any,
    run_id: str,
    decide: Decide,
    respond: Callable[[Run], Message],
    payloads: Sequence[Payload] = (),
) -> Outcome:
    """Runs the mutation as the caller."""
    caller = current_identity()
    return await deps.transactions.change(
        run_id,
        decide,
        subject=caller.subject,
        owners={caller.subject: caller.owner},
        payloads=payloads,
        request=request_of(message, respond),
    )


async def mutate(
    deps: Deps,
    message: Any,
    decide: Decide,
    respond: Callable[[Run], Response],
    payloads: Sequence[Payload] = (),
) -> Response:
    """Runs a mutation of `message.run_id` and answers it."""
    outcome = await change(deps, message, message.run_id, decide, respond, payloads)
    response = respond(outcome.run)
    return response if outcome.replayed is None else type(response).FromString(outcome.replayed)

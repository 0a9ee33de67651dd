"""An rpc asked over HTTP: the request's message is built, sent on, and the answer written as JSON."""

from __future__ import annotations

from google.protobuf.message import Message

from interlock.gateway import forwarding
from interlock.gateway.api.methods import Binding, Method
from interlock.gateway.backends import Backends
from interlock.gateway.http.exchange import Exchange
from interlock.gateway.problems import HttpError
from interlock.gateway.rest.service import CREATES, SERVICE
from interlock.gateway.transcode.request import build
from interlock.gateway.transcode.response import to_json

JSON = "application/json"


async def request_message(
    exchange: Exchange, method: Method, binding: Binding, variables: dict[str, str]
) -> Message:
    """The rpc's request. Raises INVALID_ARGUMENT, MESSAGE_TOO_LARGE or a problem of status 415."""
    body = await exchange.body()
    if body and exchange.media_type not in ("", JSON) and not exchange.media_type.endswith("+json"):
        raise HttpError(
            415,
            f"The body is {exchange.media_type[:80]}, and this call takes {JSON}.",
            field="content-type",
            fix=f"Send `Content-Type: {JSON}`.",
        )
    return build(method, binding, variables, exchange.query, body)


async def unary(
    exchange: Exchange, backends: Backends, method: Method, binding: Binding, variables: dict[str, str]
) -> None:
    """Answer with the rpc's response. A client that goes away cancels the call; never what it began."""
    metadata = forwarding.metadata(exchange.headers, exchange.request_id)
    limits = exchange.limits
    timeout = forwarding.deadline(exchange.headers, limits.call_seconds, limits.longest_call_seconds)
    message = await request_message(exchange, method, binding, variables)
    call = backends.unary(method.service, method.path, message.SerializeToString(), metadata, timeout)
    raw = await exchange.unless_gone(call)
    facade = method.service == SERVICE
    answer = to_json(method.response(raw), binding.response_body, whole=facade)
    await exchange.answer(201 if method.full_name in CREATES else 200, JSON, answer)

"""HTTP status → typed error, the same for every gateway. What a server says is shown cut, and without keys."""

from __future__ import annotations

import re

from interlock.common.clock import SystemClock
from interlock.common.errors import Reason
from interlock.planner.gateways.base import ModelError, shown
from interlock.planner.gateways.replies import NotJson, read_json
from interlock.planner.gateways.transport import HttpReply, retry_after_s

_TOO_LARGE = re.compile(
    r"context_length_exceeded|exceed_context_size|maximum context|context (?:size|window|length)|string_too_long"
    r"|too many tokens|prompt is too long|at most \d+ characters|100,?000",
    re.IGNORECASE,
)
_REFUSED = re.compile(r"content_filter|content_policy|safety", re.IGNORECASE)
_KEYLIKE = re.compile(r"(?:sk|pk|key|Bearer)[-_ ][A-Za-z0-9*._-]{6,}", re.IGNORECASE)


def check_status(reply: HttpReply) -> None:
    """Raise the ModelError that a status other than 2xx means."""
    if 200 <= reply.status < 300:
        return
    said = server_says(reply)
    if reply.status in (401, 403):
        raise ModelError(
            Reason.MODEL_UNAUTHENTICATED,
            f"The model's server refuses the planner's key (HTTP {reply.status}).",
            metadata=_status(reply),
        )
    if reply.status == 429:
        wait = retry_after_s(reply.headers, SystemClock())
        message = f"The model's server limits the rate of calls: {said}"
        raise ModelError(Reason.MODEL_RATE_LIMITED, message, metadata=_status(reply), retry_after=wait)
    if reply.status in (408, 504):
        raise ModelError(Reason.MODEL_TIMEOUT, f"The model's server gave up: {said}", metadata=_status(reply))
    if reply.status == 413 or (reply.status in (400, 422) and _TOO_LARGE.search(said)):
        message = f"The model's server finds the prompt too large: {said}"
        raise ModelError(Reason.MODEL_PROMPT_TOO_LARGE, message, metadata=_status(reply))
    if 400 <= reply.status < 500 and _REFUSED.search(said):
        raise ModelError(Reason.MODEL_REFUSED, f"The model declined: {said}", metadata=_status(reply))
    raise _unavailable(reply, said)


def _unavailable(reply: HttpReply, said: str) -> ModelError:
    fix = ""
    if reply.status == 404:
        fix = "Check the gateway's base_url (with /v1 where the server has it) and model: see docs/models.md."
    elif 300 <= reply.status < 400:
        fix = "Set the gateway's base_url to the address it redirects to; redirects are not followed with a key."
    elif reply.status < 500:
        fix = "The server refuses this kind of request: check the model's name and the gateway kind."
    message = f"The model's server answered HTTP {reply.status}: {said}"
    return ModelError(Reason.MODEL_UNAVAILABLE, message, fix=fix, metadata=_status(reply))


def _status(reply: HttpReply) -> dict[str, str]:
    return {"http_status": str(reply.status)}


def server_says(reply: HttpReply) -> str:
    """What the error body says, in one line of at most 300 characters, with anything like a key taken out."""
    try:
        data = read_json(reply.body)
    except NotJson:
        data = None
    error = data.get("error", data.get("detail")) if isinstance(data, dict) else None
    return error_says(error) if error else _KEYLIKE.sub("***", shown(reply.body)) or "(no text)"


def error_says(error: object) -> str:
    """The same of the error object in a body."""
    if isinstance(error, dict):
        error = " ".join(str(error[key]) for key in ("message", "code", "type") if error.get(key))
    return _KEYLIKE.sub("***", shown(str(error).encode("utf-8", "replace"))) or "(no text)"

"""A request id for every rpc and one log line at its end.

The caller may bring its own id in `x-request-id`; otherwise one is made. It is in every log line of the call, in
the trailing metadata and in the ErrorInfo of errors. It names this one rpc, unlike the `request_id` field of
mutations, which names the wish behind possibly several attempts.
"""

from __future__ import annotations

import asyncio
import re
from contextvars import ContextVar
from typing import Any, Final

import grpc

from interlock.common import logs
from interlock.common.clock import Clock
from interlock.common.errors import Reason
from interlock.common.ids import Ids
from interlock.common.interceptors.base import Call, Rpc, metadata_of
from interlock.common.lean import structlog

REQUEST_ID: Final = "x-request-id"
_FORM = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_request_id: ContextVar[str] = ContextVar("interlock_request_id", default="")
_reason: ContextVar[str] = ContextVar("interlock_reason", default="")
_log = logs.get("rpc")


def current_request_id() -> str:
    """The id of the rpc being handled; empty outside one."""
    return _request_id.get()


def note_reason(reason: Reason) -> None:
    """Remember why the current rpc failed, for its log line and its span."""
    _reason.set(reason.value)


def current_reason() -> str:
    """Why the current rpc failed; empty when it did not."""
    return _reason.get()


class AccessLog:
    """Gives each rpc its id and logs method, code, reason and duration."""

    def __init__(self, clock: Clock, ids: Ids) -> None:
        self._clock = clock
        self._ids = ids

    def wrap(self, rpc: Rpc, proceed: Call) -> Call:
        """Adds the id and the log line around a call."""
        write = _log.debug if rpc.is_infrastructure else _log.info

        async def call(request: Any, context: Any) -> Any:
            self._begin(context)
            started = self._clock.monotonic()
            code = "UNKNOWN"
            try:
                response = await proceed(request, context)
                code = "OK"
                return response
            except asyncio.CancelledError:
                code = "CANCELLED"
                raise
            except grpc.aio.AbortError:
                code = _code_name(context)
                raise
            finally:
                seconds = self._clock.monotonic() - started
                reason = {"reason": _reason.get()} if _reason.get() else {}
                write("rpc", rpc=rpc.name, code=code, ms=round(seconds * 1000, 3), **reason)

        return call

    def _begin(self, context: Any) -> None:
        given = metadata_of(context).get(REQUEST_ID, "")
        request_id = given if _FORM.fullmatch(given) else self._ids.new("req")
        _request_id.set(request_id)
        _reason.set("")
        structlog.contextvars.bind_contextvars(request_id=request_id)
        context.set_trailing_metadata(((REQUEST_ID, request_id),))


def _code_name(context: Any) -> str:
    code = context.code()
    return code.name if isinstance(code, grpc.StatusCode) else _NAMES.get(code, "UNKNOWN")


_NAMES: Final = {code.value[0]: code.name for code in grpc.StatusCode}

"""The one place where exceptions become statuses.

InterlockError travels with its details. Anything else is a defect: the caller gets INTERNAL and the request id,
the log gets the traceback, and no text of the exception ever leaves the process.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from interlock.common import logs
from interlock.common.errors import InterlockError, Reason
from interlock.common.interceptors.access_log import REQUEST_ID, current_request_id, note_reason
from interlock.common.interceptors.base import Call, Rpc
from interlock.common.status import status_code, to_status, trailing_metadata

_log = logs.get("rpc")


class ErrorMapping:
    """Answers every exception with a rich status."""

    def wrap(self, rpc: Rpc, proceed: Call) -> Call:
        """Adds the mapping around a call."""

        async def call(request: Any, context: Any) -> Any:
            try:
                return await proceed(request, context)
            except InterlockError as error:
                await _abort(context, error)
            except (asyncio.CancelledError, grpc.aio.AbortError):
                # The client went away, or the handler chose its own status: neither is ours to change.
                raise
            except grpc.aio.InternalError:
                raise _gone() from None
            except Exception:  # noqa: BLE001 (the boundary: logged in full, hidden from the caller)
                request_id = current_request_id()
                _log.exception("rpc failed unexpectedly", rpc=rpc.name, request_id=request_id)
                await _abort(
                    context,
                    InterlockError(
                        Reason.INTERNAL, f"The service failed unexpectedly (request id {request_id})."
                    ),
                )

        return call


async def _abort(context: Any, error: InterlockError) -> None:
    request_id = current_request_id()
    note_reason(error.reason)
    status = to_status(error, request_id=request_id)
    metadata = (*trailing_metadata(status), (REQUEST_ID, request_id))
    try:
        await context.abort(status_code(error), status.message, metadata)
    except grpc.aio.InternalError:
        raise _gone() from None


def _gone() -> asyncio.CancelledError:
    """What gRPC raises when a message or status cannot be sent: there is nobody to send it to any more."""
    return asyncio.CancelledError("the client is gone")

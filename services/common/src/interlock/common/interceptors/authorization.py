"""No rpc without the role that its proto asks for, nor about what is outside the caller's scope.

Refusals go to the record.
"""

from __future__ import annotations

from typing import Any, Final

from interlock.common.access.denials import Denial, Sink
from interlock.common.access.roles import check_role, required_role
from interlock.common.access.scope import Scope
from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import Identity, current_identity
from interlock.common.interceptors.base import Call, Rpc

_NAMES: Final = ("run_id", "approval_id", "workspace_id", "token_id", "effect_id")


class Authorization:
    """Checks the caller's role and scope, and notes every PERMISSION_DENIED of the call, wherever it was found out."""

    def __init__(self, denials: Sink, scope: Scope) -> None:
        self._denials = denials
        self._scope = scope

    def wrap(self, rpc: Rpc, proceed: Call) -> Call:
        """Adds the check around a call."""
        if rpc.is_infrastructure:
            return proceed
        role = required_role(rpc)

        async def call(request: Any, context: Any) -> Any:
            identity = current_identity()
            try:
                check_role(identity, role, rpc.method)
                if identity.scope:
                    await self._scope.check(identity, rpc, request)
                return await proceed(request, context)
            except InterlockError as error:
                if error.reason is Reason.PERMISSION_DENIED:
                    self._note(rpc, identity, "" if rpc.request_streaming else resource_of(request), error)
                raise

        return call

    def _note(self, rpc: Rpc, identity: Identity, resource: str, error: InterlockError) -> None:
        self._denials.note(Denial(identity.subject, identity.authentication, rpc.name, resource, str(error)))


def resource_of(request: Any) -> str:
    """What a request is about: the first id that it names; empty when it names none."""
    fields = request.DESCRIPTOR.fields_by_name
    return next((found for name in _NAMES if name in fields and (found := str(getattr(request, name)))), "")

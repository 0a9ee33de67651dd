"""No rpc without a known caller, except health and reflection."""

from __future__ import annotations

from typing import Any

from interlock.common.auth import Authenticator
from interlock.common.identity import set_identity
from interlock.common.interceptors.base import Call, Rpc, metadata_of


class Authentication:
    """Sets the identity of the call, or refuses it before the first message is read."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    def wrap(self, rpc: Rpc, proceed: Call) -> Call:
        """Adds the check around a call."""
        if rpc.is_infrastructure:
            return proceed
        authenticate = self._authenticator.authenticate

        async def call(request: Any, context: Any) -> Any:
            set_identity(authenticate(metadata_of(context)))
            return await proceed(request, context)

        return call

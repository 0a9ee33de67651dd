"""The shape all layers share: one function for all four kinds of rpc.

gRPC has four handler signatures. Here each becomes `async (request, context) -> response`: the request of a
client-streaming rpc is an async iterator, and a server-streaming rpc writes to the context and returns None. A
layer then wraps such a function once, whatever the kind.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

Call = Callable[[Any, Any], Awaitable[Any]]
"""`(request or async iterator of requests, grpc.aio.ServicerContext) -> response or None`."""


@dataclass(frozen=True, slots=True)
class Rpc:
    """One method of one service, as far as layers care."""

    path: str
    """`/interlock.v1.Orchestrator/CreateRun`, as gRPC writes it."""

    request_streaming: bool
    response_streaming: bool

    @property
    def service(self) -> str:
        """`interlock.v1.Orchestrator`."""
        return self.path[1:].rpartition("/")[0]

    @property
    def method(self) -> str:
        """`CreateRun`."""
        return self.path.rpartition("/")[2]

    @property
    def name(self) -> str:
        """`interlock.v1.Orchestrator/CreateRun`: the span's name."""
        return self.path[1:]

    @property
    def is_infrastructure(self) -> bool:
        """Whether it is health or reflection, which need no token and are neither traced nor logged loudly."""
        return self.service.startswith(("grpc.health.", "grpc.reflection."))


class Layer(Protocol):
    """One concern of every rpc."""

    def wrap(self, rpc: Rpc, proceed: Call) -> Call:
        """Called once per method. Returns `proceed` itself where the layer has nothing to do."""
        ...


def metadata_of(context: Any) -> dict[str, str]:
    """The call's text metadata; of a repeated key the first value counts, so that it cannot be overridden."""
    found: dict[str, str] = {}
    for key, value in context.invocation_metadata() or ():
        if isinstance(value, str):
            found.setdefault(key, value)
    return found

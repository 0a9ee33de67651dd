"""Which processes make up Interlock, in which order, and what each may know."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Mapping
from contextlib import ExitStack

from interlock.client.endpoints import SERVICES, Endpoints
from interlock.common.addresses import DEFAULT_PORTS, parse_address
from interlock.common.errors import InterlockError, Reason

STAGES = (("executor", "planner"), ("orchestrator",), ("approval", "gateway"))
"""Services of a stage start together, after those of the stages before are serving."""

DEFAULT_PORT_BASE = 7400
_GATEWAY_OFFSET = 5

# Law of the design: model keys are the planner's, the database is the orchestrator's, secrets are the executor's.
_PRIVATE = {
    "INTERLOCK_MODEL_": "planner",
    "INTERLOCK_DATABASE_": "orchestrator",
    "INTERLOCK_WEBHOOK_": "orchestrator",
    "INTERLOCK_SECRET_": "executor",
    "INTERLOCK_SECRETS_": "executor",
}


def command_line(service: str) -> list[str]:
    """How a service's process is started. -P: the current directory is not a place to import from."""
    return [sys.executable, "-P", "-m", f"interlock.{service}"]


def environment(service: str, base: Mapping[str, str], endpoints: Endpoints) -> dict[str, str]:
    """A service's environment: `base` without what belongs to another one, and every service's address."""
    env = {name: value for name, value in base.items() if _belongs(name, service)}
    env.update({f"INTERLOCK_{name.upper()}_ADDRESS": address for name, address in endpoints.items()})
    return env


def _belongs(name: str, service: str) -> bool:
    return all(service == owner for prefix, owner in _PRIVATE.items() if name.startswith(prefix))


def allocate(port_base: int, given: Endpoints) -> Endpoints:
    """Addresses to listen on: those given, else `port_base` + 1 to 5 on 127.0.0.1; 0 = free ports.

    With the usual base the gateway is where its users look for it, on port 8002.
    """
    if port_base == 0:
        return given.filled_from(_free_ports())
    offsets = {name: DEFAULT_PORTS[name] - DEFAULT_PORT_BASE for name in SERVICES}
    if port_base != DEFAULT_PORT_BASE:
        offsets["gateway"] = _GATEWAY_OFFSET
    return given.filled_from(
        Endpoints(**{name: f"127.0.0.1:{port_base + offset}" for name, offset in offsets.items()})
    )


def check_free(endpoints: Endpoints) -> None:
    """Raises UNAVAILABLE when something listens at one of the addresses: its answers would pass for ours."""
    for name, text in endpoints.items():
        if not text:
            continue
        address = parse_address(text, field=name)
        if address.is_unix:
            continue
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address.host, address.port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise _in_use(name, text) from None


def _in_use(name: str, text: str) -> InterlockError:
    return InterlockError(
        Reason.UNAVAILABLE,
        f"{text}, where the {name} would listen, is in use by another program.",
        field=name,
        fix="Stop what listens there, or use other ports: `interlock up --port-base 0` takes free ones.",
    )


def _free_ports() -> Endpoints:
    # All are held at once, so that they differ; released before the services bind them.
    with ExitStack() as stack:
        found = {}
        for name in SERVICES:
            probe = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            probe.bind(("127.0.0.1", 0))
            found[name] = f"127.0.0.1:{probe.getsockname()[1]}"
        return Endpoints(**found)

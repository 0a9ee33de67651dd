"""Where the services are: arguments, then the environment, then what `interlock up` wrote, then the defaults."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from interlock.common.addresses import DEFAULT_PORTS, parse_address
from interlock.common.config import data_dir, env_text
from interlock.common.errors import InterlockError, Reason

SERVICES = ("orchestrator", "executor", "planner", "approval", "gateway")
ASKED = ("orchestrator", "executor", "planner", "approval")
"""The services that clients ask; the gateway is for those that speak HTTP."""
ENDPOINTS_FILE = "endpoints.json"
LOCK_FILE = "up.lock"
_MAX_FILE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Endpoints:
    """An address per service, in the form `parse_address` reads; empty = not known."""

    orchestrator: str = ""
    executor: str = ""
    planner: str = ""
    approval: str = ""
    gateway: str = ""

    def get(self, service: str) -> str:
        """The address of a service by its name."""
        return str(getattr(self, service))

    def items(self) -> Iterator[tuple[str, str]]:
        """Pairs of service and address, in a fixed order."""
        return ((service, self.get(service)) for service in SERVICES)

    def filled_from(self, other: Endpoints) -> Endpoints:
        """These addresses, with `other`'s where one is not known."""
        return Endpoints(**{name: address or other.get(name) for name, address in self.items()})


def resolve(
    given: Endpoints | None = None, *, directory: Path | None = None, env: Mapping[str, str] | None = None
) -> Endpoints:
    """The addresses to use. Raises INVALID_ARGUMENT naming the argument or variable that is malformed.

    Args:
        given: addresses that win over everything else.
        directory: the data directory; by default the one of the environment.
        env: the environment; by default this process's.
    """
    found = (given or Endpoints()).filled_from(from_env(env))
    running = read_running(directory or data_dir(env))
    if running is not None:
        found = found.filled_from(running)
    found = found.filled_from(defaults())
    for name, address in found.items():
        parse_address(address, field=name)
    return found


def defaults() -> Endpoints:
    """The documented addresses on 127.0.0.1."""
    return Endpoints(**{name: f"127.0.0.1:{DEFAULT_PORTS[name]}" for name in SERVICES})


def from_env(env: Mapping[str, str] | None = None) -> Endpoints:
    """What `INTERLOCK_<SERVICE>_ADDRESS` say."""
    return Endpoints(**{name: env_text(f"INTERLOCK_{name.upper()}_ADDRESS", env=env) for name in SERVICES})


def parse_servers(values: tuple[str, ...]) -> Endpoints:
    """`ADDRESS` (the orchestrator's) or `SERVICE=ADDRESS`, any number of them."""
    found = Endpoints()
    for value in values:
        name, equals, address = value.partition("=")
        if not equals:
            name, address = "orchestrator", value
        if name not in ASKED:
            raise InterlockError(
                Reason.INVALID_ARGUMENT,
                f"{name[:80]!r} is not a service.",
                field="server",
                fix=f"Write ADDRESS or SERVICE=ADDRESS, with one of {', '.join(ASKED)}.",
            )
        found = replace(found, **{name: str(parse_address(address, field="server"))})
    return found


def read_running(directory: Path) -> Endpoints | None:
    """What an `interlock up` that is alive on this data directory wrote; None when there is none."""
    running = read_supervisor(directory)
    return running.endpoints if running else None


@dataclass(frozen=True, slots=True)
class Running:
    """A supervisor that is alive: where its services are, its process, whether it stops by itself, and the directory
    of certificates where it uses TLS."""

    endpoints: Endpoints
    pid: int
    temporary: bool
    certs: str = ""


def read_supervisor(directory: Path) -> Running | None:
    """As `read_running`, with what else the supervisor wrote."""
    if not is_locked(directory):
        return None
    try:
        with open(directory / ENDPOINTS_FILE, "rb") as file:
            data = json.loads(file.read(_MAX_FILE))
        services = data["services"]
        found = Endpoints(**{name: str(services.get(name, "")) for name in SERVICES})
        return Running(
            found, int(data.get("pid", 0)), data.get("temporary") is True, str(data.get("certs", ""))
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # it is starting or stopping


def is_locked(directory: Path) -> bool:
    """Whether an `interlock up` holds the data directory. A process that died holds nothing."""
    try:
        fd = os.open(directory / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def write_running(
    directory: Path, endpoints: Endpoints, pid: int, *, temporary: bool = False, certs: str = ""
) -> None:
    """Write the endpoints file atomically; readers see the old one or the new one."""
    data: dict[str, object] = {
        "version": 1,
        "pid": pid,
        "temporary": temporary,
        "services": dict(endpoints.items()),
    }
    if certs:
        data["certs"] = certs
    text = json.dumps(data, indent=2) + "\n"
    partial = directory / f".{ENDPOINTS_FILE}.{pid}"
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, directory / ENDPOINTS_FILE)


def remove_running(directory: Path) -> None:
    """Remove the endpoints file, if it is there."""
    (directory / ENDPOINTS_FILE).unlink(missing_ok=True)

"""What network this executor gives to steps: none, or hosts on a list of its own."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from interlock.common.config import env_int, env_list, env_text
from interlock.common.errors import InterlockError, Reason
from interlock.executor.domain.model import JsonValue
from interlock.executor.sandbox.base import Check
from interlock.executor.sandbox.network.hosts import Host, parse_host
from interlock.executor.sandbox.network.rules import PORT, Bounds, Rules

_MOST: Final = 1000
_ANY: Final = ("*:*",)
_FIX: Final = (
    "Leave `network` empty, or have the executor started with a sandbox that can give it, and in a container with the "
    "profile that is shipped for it; see docs/sandbox.md, Network."
)
_PROXY: Final = f"http://127.0.0.1:{PORT}"
_NO_PROXY: Final = "localhost,127.0.0.1,::1"

ENVIRONMENT: Final[Mapping[str, str]] = {
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), _PROXY),
    **dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), _PROXY),
    "NO_PROXY": _NO_PROXY,
    "no_proxy": _NO_PROXY,
}
"""What a step with network is told of its proxy, in both spellings: programs differ in which they read."""


@dataclass(frozen=True)
class NetworkConfig:
    """Where steps of this executor may go. The default of the object is nowhere, that of the environment is below.

    Args:
        on: INTERLOCK_NETWORK: `allowlist`, the default, or `off`.
        hosts: INTERLOCK_NETWORK_HOSTS: `host:port` each; the host may be `*` or begin with `*.`, the port be `*`.
            Every name and port when unset: what a step names is approved by a person, and public.
        ranges: INTERLOCK_NETWORK_RANGES: networks to which traffic may go although they are not public.
        addresses: INTERLOCK_NETWORK_ADDRESSES: `name=address` each, for names that are not to be looked up.
        bounds: INTERLOCK_NETWORK_CONNECTIONS, INTERLOCK_NETWORK_MAX_MIB (both ways together), of one step.
        lacking: why none can have it on this machine all the same; empty when it can. See `trial`.
    """

    on: bool = False
    hosts: tuple[Host, ...] = ()
    ranges: tuple[str, ...] = ()
    addresses: tuple[tuple[str, str], ...] = ()
    bounds: Bounds = field(default_factory=Bounds)
    lacking: str = ""

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> NetworkConfig:
        """Raises InterlockError(INVALID_ARGUMENT) naming the variable at fault."""
        switch = env_text("INTERLOCK_NETWORK", "allowlist", env)
        if switch not in ("off", "allowlist"):
            raise _bad("INTERLOCK_NETWORK", switch, "it is neither off nor allowlist")
        bounds = Bounds(
            connections=env_int("INTERLOCK_NETWORK_CONNECTIONS", 64, minimum=1, maximum=256, env=env),
            traffic_bytes=env_int("INTERLOCK_NETWORK_MAX_MIB", 1024, minimum=1, maximum=1 << 20, env=env)
            << 20,
        )
        return cls(
            on=switch == "allowlist",
            hosts=tuple(_pattern(text) for text in _items("INTERLOCK_NETWORK_HOSTS", env) or _ANY),
            ranges=tuple(_range(text) for text in _items("INTERLOCK_NETWORK_RANGES", env)),
            addresses=tuple(_pin(text) for text in _items("INTERLOCK_NETWORK_ADDRESSES", env)),
            bounds=bounds,
        )

    def rules(self, asked: Sequence[str]) -> Rules:
        """The rules of a step that asks for `asked`.

        Raises NETWORK_NOT_AVAILABLE when there is no network or a host is not on this executor's list,
        INVALID_ARGUMENT for one that is none.
        """
        if not self.on:
            raise InterlockError(
                Reason.NETWORK_NOT_AVAILABLE,
                "This executor runs commands without network only.",
                field="network",
                fix="Leave `network` empty, and bring what the command needs into the workspace beforehand; or have "
                "the executor started without INTERLOCK_NETWORK=off.",
            )
        if self.lacking:
            raise InterlockError(
                Reason.NETWORK_NOT_AVAILABLE,
                f"No command can have network here: {self.lacking}.",
                field="network",
                fix=_FIX,
            )
        hosts = [self._allowed(text, f"network[{index}]") for index, text in enumerate(asked)]
        return Rules(tuple(sorted({str(host) for host in hosts})), self.ranges, self.addresses, self.bounds)

    def _allowed(self, text: str, where: str) -> Host:
        try:
            host = parse_host(text, pattern=True)
        except ValueError as error:
            raise InterlockError(
                Reason.INVALID_ARGUMENT,
                f"{text[:100]!r} cannot be a host to reach: {error}.",
                field=where,
                fix="Write host:port, for example example.org:443.",
            ) from None
        if any(each.covers(host) for each in self.hosts):
            return host
        raise InterlockError(
            Reason.NETWORK_NOT_AVAILABLE,
            f"This executor lets no command reach {host}.",
            field=where,
            fix="Leave it out, or have it added to INTERLOCK_NETWORK_HOSTS of the executor.",
        )

    def policy(self) -> dict[str, JsonValue]:
        """What decides, besides the hosts asked for, what such a step can reach; part of its request's digest."""
        return {
            "mode": "allowlist",
            "ranges": list(self.ranges),
            "addresses": dict(self.addresses),
            "connections": self.bounds.connections,
            "traffic_bytes": self.bounds.traffic_bytes,
        }

    def told(self) -> str:
        """For people."""
        if not self.on:
            return "off: no command has network (INTERLOCK_NETWORK)"
        if self.hosts == (Host("*", 0),):
            listed = "what a step names and is approved (INTERLOCK_NETWORK_HOSTS lists no fewer)"
        else:
            listed = ", ".join(map(str, self.hosts[:20]))
        more = f", {len(self.hosts) - 20} more" if len(self.hosts) > 20 else ""
        ranges = f"; not public, and allowed: {', '.join(self.ranges[:20])}" if self.ranges else ""
        return f"allowlist: {listed}{more}{ranges}"


def network_check(network: NetworkConfig) -> Check:
    """What the executor says of itself."""
    if network.on and network.lacking:
        return Check("network", False, f"no command can have it: {network.lacking}", _FIX, required=False)
    return Check("network", True, network.told(), required=False)


def _items(name: str, env: Mapping[str, str] | None) -> tuple[str, ...]:
    items = env_list(name, env=env)
    if len(items) > _MOST:
        raise _bad(name, f"{len(items)} entries", f"at most {_MOST} are taken")
    return items


def _pattern(text: str) -> Host:
    try:
        return parse_host(text, pattern=True, any_host=True)
    except ValueError as error:
        raise _bad("INTERLOCK_NETWORK_HOSTS", text, str(error)) from None


def _range(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise _bad("INTERLOCK_NETWORK_RANGES", text, str(error)) from None


def _pin(text: str) -> tuple[str, str]:
    name, _, address = text.partition("=")
    try:
        return parse_host(f"{name}:1").name, str(ipaddress.ip_address(address))
    except ValueError as error:
        raise _bad("INTERLOCK_NETWORK_ADDRESSES", text, str(error)) from None


def _bad(name: str, value: str, why: str) -> InterlockError:
    return InterlockError(
        Reason.INVALID_ARGUMENT, f"{name} has {value[:100]!r}: {why}.", field=name, fix="Correct or unset it."
    )

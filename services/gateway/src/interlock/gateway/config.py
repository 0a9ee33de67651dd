"""The gateway's configuration, from the environment and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from interlock.common.access.oidc.settings import ISSUER, check_url
from interlock.common.addresses import Address
from interlock.common.config import (
    bad_variable,
    env_float,
    env_int,
    env_list,
    env_path,
    env_text,
    service_address,
)

BACKENDS = ("orchestrator", "executor", "planner", "approval")
"""The services behind the gateway."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client, and all together, can take of the gateway. Times in seconds, sizes in bytes.

    Attributes:
        body_bytes: largest request body.
        head_bytes: largest request line and headers together.
        head_seconds: how long a client may take to send them; over HTTPS, as long again for the handshake before.
        body_seconds: how long a client may take to send a body.
        write_seconds: how long a client may leave what was sent to it unread before it is cut off.
        idle_seconds: how long a connection may stay open between two requests.
        requests: requests and streams handled at once; more are refused.
        connections: open connections; more are closed.
        call_seconds: deadline of a call that names none.
        longest_call_seconds: the latest deadline a client can ask for.
        heartbeat_seconds: a stream that is silent for so long gets a sign of life.
    """

    body_bytes: int = 16 * 1024 * 1024
    head_bytes: int = 32 * 1024
    head_seconds: float = 10.0
    body_seconds: float = 60.0
    write_seconds: float = 30.0
    idle_seconds: float = 30.0
    requests: int = 1024
    connections: int = 4096
    call_seconds: float = 60.0
    longest_call_seconds: float = 900.0
    heartbeat_seconds: float = 15.0


@dataclass(frozen=True, slots=True)
class Https:
    """The certificate that browsers see, with those between it and an authority, and its key. PEM files."""

    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Provider:
    """The OpenID provider at which people of the console sign in, and who the console is to it; a public client has
    no secret."""

    issuer: str
    client: str
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Config:
    """Where to listen, who is behind, who may come from where."""

    address: Address
    backends: Mapping[str, Address]
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    grace_seconds: float = 10.0
    ready_file: Path | None = None
    ready_fd: int | None = None
    https: Https | None = None
    provider: Provider | None = None


def load(
    env: Mapping[str, str] | None = None, *, ready_file: Path | None = None, ready_fd: int | None = None
) -> Config:
    """Read INTERLOCK_GATEWAY_ADDRESS, the addresses of the other services, INTERLOCK_GATEWAY_HOSTS (names under which
    it may be asked, besides loopback and its own), INTERLOCK_GATEWAY_ORIGINS (of pages on other servers that may call
    it), the limits INTERLOCK_GATEWAY_MAX_REQUESTS, _TIMEOUT_SECONDS, _MAX_TIMEOUT_SECONDS, _WRITE_SECONDS,
    _HEAD_SECONDS and _HEARTBEAT_SECONDS, INTERLOCK_GRACE_SECONDS, for HTTPS INTERLOCK_GATEWAY_TLS_CERT and _KEY, and
    for signing in INTERLOCK_OIDC_ISSUER, _CLIENT_ID (or the first of _AUDIENCE) and _CLIENT_SECRET.
    """
    origins = env_list("INTERLOCK_GATEWAY_ORIGINS", env=env)
    for origin in origins:
        if not origin.startswith(("http://", "https://")) or origin.count("/") != 2:
            raise bad_variable("INTERLOCK_GATEWAY_ORIGINS", origin, "origins such as https://console.example")
    return Config(
        address=service_address("gateway", env),
        backends={name: service_address(name, env) for name in BACKENDS},
        hosts=tuple(name.lower() for name in env_list("INTERLOCK_GATEWAY_HOSTS", env=env)),
        origins=origins,
        limits=_limits(env),
        grace_seconds=env_float("INTERLOCK_GRACE_SECONDS", 10.0, minimum=0, maximum=3600, env=env),
        ready_file=ready_file,
        ready_fd=ready_fd,
        https=_https(env),
        provider=_provider(env),
    )


def _provider(env: Mapping[str, str] | None) -> Provider | None:
    issuer, audiences = env_text(ISSUER, env=env), env_list("INTERLOCK_OIDC_AUDIENCE", env=env)
    client = env_text("INTERLOCK_OIDC_CLIENT_ID", audiences[0] if audiences else "", env)
    if not issuer or not client:
        return None
    check_url(issuer, ISSUER)
    return Provider(issuer, client, env_text("INTERLOCK_OIDC_CLIENT_SECRET", env=env))


def _https(env: Mapping[str, str] | None) -> Https | None:
    names = ("INTERLOCK_GATEWAY_TLS_CERT", "INTERLOCK_GATEWAY_TLS_KEY")
    given = [env_text(name, env=env) for name in names]
    if not any(given):
        return None
    for name, text in zip(names, given, strict=True):
        if not text:
            raise bad_variable(name, text, "set, as the other one of the pair is")
    return Https(*(env_path(name, Path("/"), env) for name in names))


def _limits(env: Mapping[str, str] | None) -> Limits:
    usual = Limits()

    def seconds(name: str, default: float, lowest: float = 0.05) -> float:
        return env_float(f"INTERLOCK_GATEWAY_{name}", default, minimum=lowest, maximum=86_400, env=env)

    longest = seconds("MAX_TIMEOUT_SECONDS", usual.longest_call_seconds)
    return Limits(
        requests=env_int(
            "INTERLOCK_GATEWAY_MAX_REQUESTS", usual.requests, minimum=1, maximum=100_000, env=env
        ),
        call_seconds=min(longest, seconds("TIMEOUT_SECONDS", usual.call_seconds)),
        longest_call_seconds=longest,
        head_seconds=seconds("HEAD_SECONDS", usual.head_seconds),
        body_seconds=seconds("BODY_SECONDS", usual.body_seconds),
        write_seconds=seconds("WRITE_SECONDS", usual.write_seconds),
        heartbeat_seconds=seconds("HEARTBEAT_SECONDS", usual.heartbeat_seconds),
    )

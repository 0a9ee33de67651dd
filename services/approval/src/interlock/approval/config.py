"""The service's configuration, from the environment and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from interlock.common.addresses import Address
from interlock.common.config import env_float, env_int, load_token, service_address


@dataclass(frozen=True, slots=True)
class Config:
    """Where to listen, where the orchestrator is, and how patient to be."""

    address: Address
    orchestrator: Address
    token: str
    heartbeat_seconds: float = 10.0
    standing_seconds: float = 2.0
    log_entries: int = 10_000
    subscriptions_each: int = 500
    grace_seconds: float = 10.0
    ready_file: Path | None = None
    ready_fd: int | None = None


def load(
    env: Mapping[str, str] | None = None, *, ready_file: Path | None = None, ready_fd: int | None = None
) -> Config:
    """Read INTERLOCK_APPROVAL_ADDRESS, INTERLOCK_ORCHESTRATOR_ADDRESS, INTERLOCK_TOKEN (or the token file),
    INTERLOCK_APPROVAL_HEARTBEAT_SECONDS, INTERLOCK_APPROVAL_LOG_ENTRIES, INTERLOCK_APPROVAL_SUBSCRIPTIONS_EACH,
    INTERLOCK_APPROVAL_STANDING_SECONDS and INTERLOCK_GRACE_SECONDS.
    """
    return Config(
        address=service_address("approval", env),
        orchestrator=service_address("orchestrator", env),
        token=load_token(env=env),
        heartbeat_seconds=env_float(
            "INTERLOCK_APPROVAL_HEARTBEAT_SECONDS", 10.0, minimum=0.05, maximum=3600, env=env
        ),
        standing_seconds=env_float(
            "INTERLOCK_APPROVAL_STANDING_SECONDS", 2.0, minimum=0.05, maximum=3600, env=env
        ),
        log_entries=env_int("INTERLOCK_APPROVAL_LOG_ENTRIES", 10_000, minimum=1, maximum=1_000_000, env=env),
        subscriptions_each=env_int(
            "INTERLOCK_APPROVAL_SUBSCRIPTIONS_EACH", 500, minimum=1, maximum=10_000, env=env
        ),
        grace_seconds=env_float("INTERLOCK_GRACE_SECONDS", 10.0, minimum=0, maximum=3600, env=env),
        ready_file=ready_file,
        ready_fd=ready_fd,
    )

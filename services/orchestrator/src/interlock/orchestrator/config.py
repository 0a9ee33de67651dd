"""The orchestrator's settings, from INTERLOCK_* variables."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from interlock.common import journal_keys
from interlock.common.access.oidc import settings as oidc
from interlock.common.addresses import Address, parse_address
from interlock.common.config import env_float, env_int, env_text, load_token, service_address
from interlock.common.errors import InterlockError, Reason
from interlock.common.journal_keys import SigningKey
from interlock.common.policy.model import PolicyDocument
from interlock.common.policy.named import named_policy
from interlock.orchestrator.webhooks import settings as webhooks
from interlock.orchestrator.webhooks.settings import WebhookSettings

_EXECUTORS: Final = "INTERLOCK_EXECUTOR_ADDRESSES"
_MOST_EXECUTORS: Final = 64


@dataclass(frozen=True)
class Config:
    """Everything the orchestrator is told from outside.

    Attributes:
        database_url: INTERLOCK_DATABASE_URL, PostgreSQL 15 or newer; required.
        address: INTERLOCK_ORCHESTRATOR_ADDRESS, where to listen.
        executor, planner: where those services are.
        more_executors: the others, where INTERLOCK_EXECUTOR_ADDRESSES names several, separated by commas; at most 64
            in all. It is used in place of INTERLOCK_EXECUTOR_ADDRESS.
        token: the shared bearer token.
        lease_seconds: INTERLOCK_LEASE_SECONDS, silence after which another orchestrator may take over, 1 to 300. One
            whose connections have ended is not waited for.
        model_seconds: INTERLOCK_MODEL_CALL_SECONDS, how long one call of the planner may take, 1 to 7,200; 600 by
            default. What a model may take in it is the planner's INTERLOCK_MODEL_TIMEOUT.
        pool: INTERLOCK_DATABASE_POOL, connections for queries and commands, 2 to 100.
        collect_seconds: INTERLOCK_COLLECT_INTERVAL_SECONDS, between collections of garbage on the executor; 6 hours
            by default, 0 is never.
        retention_days: INTERLOCK_RUN_RETENTION_DAYS, how long the trees of ended runs are kept, and the answers that
            repeated requests get: 1 to 3,650, 30 by default.
        feed_hours: INTERLOCK_FEED_RETENTION_HOURS, how old a cursor of the approvals' feed may be: 168 by default.
        feed_events: INTERLOCK_FEED_RETENTION_EVENTS, and how many events behind: 1,000,000 by default.
        policy: INTERLOCK_POLICY, the installation's policy: a shipped one's name or a file (docs/policy.md); none by
            default.
        journal_key: INTERLOCK_JOURNAL_KEY_FILE, an Ed25519 key that signs journals and anchors; none by default.
        anchor_seconds: INTERLOCK_ANCHOR_INTERVAL_SECONDS, between anchors; an hour by default, 0 is never.
        webhooks: INTERLOCK_WEBHOOK_*, see WebhookSettings.
        ready_file: INTERLOCK_READY_FILE, written with the bound address.
        provider_groups: names of INTERLOCK_OIDC_APPROVER_GROUPS, which policies may name as `provider:NAME`.
    """

    database_url: str
    address: Address
    executor: Address
    planner: Address
    token: str
    lease_seconds: float = 6.0
    model_seconds: float = 600.0
    pool: int = 8
    collect_seconds: float = 21_600.0
    retention_days: int = 30
    feed_hours: float = 168.0
    feed_events: int = 1_000_000
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    policy: PolicyDocument | None = None
    journal_key: SigningKey | None = None
    anchor_seconds: float = 3600.0
    ready_file: Path | None = None
    provider_groups: frozenset[str] = frozenset()
    more_executors: tuple[Address, ...] = ()

    @property
    def executors(self) -> tuple[Address, ...]:
        """All of them."""
        return self.executor, *self.more_executors


def from_env() -> Config:
    """Reads the environment. Raises INVALID_ARGUMENT naming the variable at fault, POLICY_INVALID."""
    url = env_text("INTERLOCK_DATABASE_URL")
    if not url:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            "INTERLOCK_DATABASE_URL is not set.",
            field="INTERLOCK_DATABASE_URL",
            fix="Set it to postgresql://…, or run `interlock up`, which brings a PostgreSQL of its own.",
        )
    ready = env_text("INTERLOCK_READY_FILE")
    provider = oidc.from_env()
    policy = env_text("INTERLOCK_POLICY")
    executors = executor_addresses()
    key_file = env_text("INTERLOCK_JOURNAL_KEY_FILE")
    return Config(
        database_url=url,
        address=service_address("orchestrator"),
        executor=executors[0],
        more_executors=executors[1:],
        planner=service_address("planner"),
        token=load_token(),
        lease_seconds=env_float("INTERLOCK_LEASE_SECONDS", 6.0, minimum=1.0, maximum=300.0),
        model_seconds=env_float("INTERLOCK_MODEL_CALL_SECONDS", 600.0, minimum=1.0, maximum=7200.0),
        pool=env_int("INTERLOCK_DATABASE_POOL", 8, minimum=2, maximum=100),
        collect_seconds=env_float(
            "INTERLOCK_COLLECT_INTERVAL_SECONDS", 21_600.0, minimum=0.0, maximum=30 * 86_400.0
        ),
        retention_days=env_int("INTERLOCK_RUN_RETENTION_DAYS", 30, minimum=1, maximum=3650),
        feed_hours=env_float("INTERLOCK_FEED_RETENTION_HOURS", 168.0, minimum=0.0, maximum=87_600.0),
        feed_events=env_int("INTERLOCK_FEED_RETENTION_EVENTS", 1_000_000, minimum=1, maximum=1_000_000_000),
        policy=named_policy(policy) if policy else None,
        journal_key=journal_keys.load(Path(key_file)) if key_file else None,
        anchor_seconds=env_float(
            "INTERLOCK_ANCHOR_INTERVAL_SECONDS", 3600.0, minimum=0.0, maximum=30 * 86_400.0
        ),
        webhooks=webhooks.from_env(),
        ready_file=Path(ready) if ready else None,
        provider_groups=frozenset(provider.approvers if provider else ()),
    )


def executor_addresses() -> tuple[Address, ...]:
    """INTERLOCK_EXECUTOR_ADDRESSES, else the one of INTERLOCK_EXECUTOR_ADDRESS. Raises INVALID_ARGUMENT."""
    texts = [text.strip() for text in env_text(_EXECUTORS).split(",") if text.strip()]
    if not texts:
        return (service_address("executor"),)
    found = tuple(parse_address(text, field=_EXECUTORS) for text in texts)
    if len(set(found)) < len(found) or len(found) > _MOST_EXECUTORS:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"{_EXECUTORS} names an address twice, or more than {_MOST_EXECUTORS} of them.",
            field=_EXECUTORS,
            fix="Name each executor once, separated by commas.",
        )
    return found

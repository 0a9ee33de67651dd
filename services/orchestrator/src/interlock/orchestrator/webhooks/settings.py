"""How deliveries are made."""

from __future__ import annotations

import random
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from interlock.common.config import bad_variable, env_float, env_int, env_text
from interlock.orchestrator.webhooks import sealing
from interlock.orchestrator.webhooks.addresses import Network, networks


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Times in seconds.

    Attributes:
        allow: INTERLOCK_WEBHOOK_ALLOW, networks that may be sent to though they are private.
        attempts: INTERLOCK_WEBHOOK_ATTEMPTS, tries before a delivery is dead.
        first, longest: INTERLOCK_WEBHOOK_FIRST_DELAY_SECONDS, INTERLOCK_WEBHOOK_LONGEST_DELAY_SECONDS, waits
            between two tries: doubled each time, of each a random part between half and the whole.
        timeout: INTERLOCK_WEBHOOK_TIMEOUT_SECONDS, for one try.
        poll: between looks at what is due, when nothing says that something is.
        at_once, per_endpoint: tries under way at most.
        trust: INTERLOCK_WEBHOOK_CA, a PEM file of authorities whose certificates are taken, besides the system's.
        ring: INTERLOCK_WEBHOOK_KEY, what endpoints' secrets are encrypted with in the database.
    """

    allow: tuple[Network, ...] = ()
    attempts: int = 10
    first: float = 5.0
    longest: float = 3600.0
    timeout: float = 10.0
    poll: float = 1.0
    at_once: int = 16
    per_endpoint: int = 4
    trust: ssl.SSLContext | None = None
    ring: sealing.Ring = field(default_factory=sealing.Ring)

    def delay(self, attempts: int) -> float:
        """The wait after so many failed tries."""
        whole = min(self.first * 2.0 ** min(attempts - 1, 40), self.longest)
        return whole * (0.5 + random.random() / 2)  # noqa: S311 (spreads load, guards nothing)


def from_env(env: Mapping[str, str] | None = None) -> WebhookSettings:
    """Reads the environment. Raises INVALID_ARGUMENT naming the variable at fault."""
    return WebhookSettings(
        allow=networks(env_text("INTERLOCK_WEBHOOK_ALLOW", env=env).split(",")),
        attempts=env_int("INTERLOCK_WEBHOOK_ATTEMPTS", 10, minimum=1, maximum=100, env=env),
        first=env_float("INTERLOCK_WEBHOOK_FIRST_DELAY_SECONDS", 5.0, minimum=0.01, maximum=3600, env=env),
        longest=env_float(
            "INTERLOCK_WEBHOOK_LONGEST_DELAY_SECONDS", 3600.0, minimum=0.01, maximum=86_400, env=env
        ),
        timeout=env_float("INTERLOCK_WEBHOOK_TIMEOUT_SECONDS", 10.0, minimum=0.1, maximum=120, env=env),
        trust=_trust(env_text("INTERLOCK_WEBHOOK_CA", env=env)),
        ring=sealing.from_env(env),
    )


def _trust(path: str) -> ssl.SSLContext | None:
    if not path:
        return None
    made = ssl.create_default_context()
    try:
        made.load_verify_locations(path)
    except OSError:  # ssl.SSLError is one
        raise bad_variable("INTERLOCK_WEBHOOK_CA", path, "a readable PEM file of certificates") from None
    return made

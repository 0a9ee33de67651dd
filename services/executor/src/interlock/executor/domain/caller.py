"""Who makes a call, as far as the executor can tell: by the secrets it shows.

Only digests of secrets come this far. They are compared in constant time, are in no log, trace or answer, and are
left out of what `repr` shows.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from interlock.common.errors import InterlockError, Reason
from interlock.executor.domain.model import EffectKey


@dataclass(frozen=True, slots=True)
class Caller:
    """What a call carries besides its request.

    Args:
        epoch: the fencing token; 0 for a caller without.
        driver: `sha256:…` of the secret of the run's driver; empty for a caller without.
        owner: `sha256:…` of the secret that the effect is, or was, prepared with; empty for a caller without.
    """

    epoch: int = 0
    driver: str = field(default="", repr=False)
    owner: str = field(default="", repr=False)


BY_HAND = Caller()


def require_same(recorded: str, caller: Caller, key: EffectKey) -> None:
    """A repeated Prepare is the caller's own. Raises EFFECT_NOT_OWNED, also when only one of the two has a secret."""
    if not hmac.compare_digest(recorded.encode(), caller.owner.encode()):
        raise InterlockError(
            Reason.EFFECT_NOT_OWNED,
            f"Attempt {key.attempt} of step {key.step} of run {key.run} was asked for by another caller.",
            field="owner_key_digest",
            fix="Count `attempt` up; what is recorded under this one is left alone.",
        )


def require_owner(recorded: str, caller: Caller, key: EffectKey) -> None:
    """What was prepared without a secret is anyone's. Raises EFFECT_NOT_OWNED."""
    if recorded and not hmac.compare_digest(recorded.encode(), caller.owner.encode()):
        raise InterlockError(
            Reason.EFFECT_NOT_OWNED,
            f"The effect of attempt {key.attempt} of step {key.step} of run {key.run} belongs to who prepared it.",
            field="owner_key",
            fix="Decide about the step's approval; the orchestrator applies or discards the effect.",
        )


def driven(run: str) -> InterlockError:
    """The error for a call without a driver's secret about a run that has one."""
    return InterlockError(
        Reason.EFFECT_NOT_OWNED,
        f"Run {run} is driven by an orchestrator.",
        field="driver_key",
        fix="By hand, use a run id of your own.",
    )

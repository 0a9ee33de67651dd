"""What became of an action: a decision to take on the run's newest state, and the payloads it refers to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from interlock.orchestrator.runs.transaction import Decide
from interlock.orchestrator.store.records import Payload


@dataclass(frozen=True, slots=True)
class Done:
    """The result of an action."""

    decide: Decide
    payloads: Sequence[Payload] = ()

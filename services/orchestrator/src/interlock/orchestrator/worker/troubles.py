"""What actions of this process wait for before they are tried again, for people who ask."""

from __future__ import annotations

from datetime import datetime

from interlock.common.errors import InterlockError
from interlock.orchestrator.domain.actions import Action, name
from interlock.orchestrator.domain.decide_run import failure_of
from interlock.orchestrator.domain.explain import Trouble


class Troubles:
    """At most one an action under way, so as many as those at most."""

    def __init__(self) -> None:
        self._known: dict[str, dict[Action, Trouble]] = {}

    def note(self, run_id: str, action: Action, error: InterlockError, at: datetime) -> None:
        """The action failed with what passes, once more."""
        of_run = self._known.setdefault(run_id, {})
        before = of_run.get(action)
        since, tries = (before.since, before.tries) if before is not None else (at, 0)
        of_run[action] = Trouble(name(action), failure_of(error), since, tries + 1)

    def forget(self, run_id: str, action: Action) -> None:
        """It waits no more."""
        of_run = self._known.get(run_id)
        if of_run is not None:
            of_run.pop(action, None)
            if not of_run:
                del self._known[run_id]

    def of(self, run_id: str) -> tuple[Trouble, ...]:
        """What the run's actions wait for, as far as this process drives them."""
        return tuple(self._known.get(run_id, {}).values())

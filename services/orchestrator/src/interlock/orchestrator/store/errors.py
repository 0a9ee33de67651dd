"""What an append can be told besides "written".

InterlockError
├── Conflict     RUN_CONFLICT: the run has moved on; carries its present seq (0: it does not exist)
└── LeaseLost    LEASE_LOST: another driver has the run; carries the present epoch
"""

from __future__ import annotations

from interlock.common.errors import InterlockError, Reason


class Conflict(InterlockError):
    """Somebody else appended first: reload the run from `current_seq` and decide again."""

    def __init__(self, run_id: str, current_seq: int) -> None:
        super().__init__(
            Reason.RUN_CONFLICT,
            f"Run {run_id} has changed meanwhile.",
            metadata={"run_id": run_id, "current_seq": str(current_seq)},
        )
        self.run_id = run_id
        self.current_seq = current_seq


class LeaseLost(InterlockError):
    """The caller's epoch is no longer the run's: stop driving it, at once and without a word."""

    def __init__(self, run_id: str, current_epoch: int) -> None:
        super().__init__(
            Reason.LEASE_LOST,
            f"Run {run_id} is driven by another orchestrator.",
            metadata={"run_id": run_id, "current_epoch": str(current_epoch)},
        )
        self.run_id = run_id
        self.current_epoch = current_epoch

"""What another policy would have made of a step: the gates it would have come to, in the order in which it did.

One `Trial` follows one attempt through the journal. It is fed with the events of the run, and with what the rules that
are tried say at the two moments at which rules are asked; it knows no rules itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from interlock.common.errors import Reason
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.asking import at_effect, gate_of, refusal
from interlock.orchestrator.domain.model import Gate, Policy, Prepared, Ruling, Step, Verdict

ASKED, NOT_ASKED, DENIED, REJECTED = "asked", "not asked", "denied", "rejected"
_COMMAND = (Gate.COMMAND, Gate.BOTH)


@dataclass(slots=True)
class Trial:
    """One attempt: what was decided about it, and what the tried rules would have."""

    step: Step
    gate: Gate
    ruling: Ruling
    was: str = NOT_ASKED
    would: str = NOT_ASKED
    observed: bool = field(default=False)

    @property
    def differs(self) -> bool:
        """Whether it would have been decided otherwise; who was asked and refused was asked."""
        return (ASKED if self.was == REJECTED else self.was) != self.would

    @property
    def unobserved(self) -> bool:
        """Whether rules that look at what a step did had nothing to look at."""
        return self.ruling.previews and not self.observed and self.would != DENIED

    def happened(self, event: e.Event) -> None:
        """Takes in what became of the attempt in fact."""
        if isinstance(event, e.ApprovalRequested):
            self.was = ASKED
        elif isinstance(event, e.ApprovalDecided) and event.verdict is Verdict.REJECT:
            self.was = REJECTED
        elif isinstance(event, e.StepFailed) and event.failure.reason == Reason.POLICY_DENIED.value:
            self.was = DENIED

    def did(self, step: Step, effect: Prepared, ruling: Ruling) -> None:
        """Takes in what the tried rules say about what it did."""
        self.observed = True
        self.ruling = ruling
        if self.would == DENIED:
            return
        approved = effect.request_digest if self.gate in _COMMAND else ""
        question = at_effect(replace(step, gate=self.gate, approved_request=approved), effect, ruling)
        if question.refused is not None:
            self.would = DENIED
        elif question.asks:
            self.would = ASKED


def began(step: Step, policy: Policy, ruling: Ruling) -> Trial:
    """An attempt that begins; `ruling` is what the tried rules say about what it asks for."""
    gate = gate_of(step.spec, policy, ruling)
    trial = Trial(step, gate, ruling)
    if refusal(step, ruling) is not None:
        trial.would = DENIED
    elif gate in _COMMAND:
        trial.would = ASKED
    return trial

"""An executor and a planner as the state machine sees them: trees are digests, effects are kept by key.

Of every tree it knows which effects are in it (`inside`), as pairs of the effect's base and result.

They keep the promises the real ones make (one answer per key, digests recomputed, compare-and-set on the head)
and check the promises the orchestrator makes: intent before effect, approval before publish, no effect
published after it was thrown away.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

from interlock.orchestrator.domain import actions as a
from interlock.orchestrator.domain.model import Failure, Gate, ModelCall, Prepared, Run, StepKind, StepSpec

Result = tuple[str, Any]
"""`("ok", value)`, or `("error", Failure)`."""


def digest(*parts: object) -> str:
    """A digest of anything that has a text."""
    return "sha256:" + hashlib.sha256(repr(parts).encode()).hexdigest()


def error(reason: str) -> Result:
    """What an action that failed for good brings back."""
    return "error", Failure(reason, f"{reason} happened.")


@dataclass
class Effect:
    """What the executor keeps for one attempt."""

    state: str
    prepared: Prepared
    failure: Failure | None = None
    head: str = ""


@dataclass
class Executor:
    """`head` moves by publishing, restoring, and by people who edit (`drift`)."""

    head: str = field(default_factory=lambda: digest("first tree"))
    effects: dict[tuple[int, int], Effect] = field(default_factory=dict)
    ran: list[tuple[int, int]] = field(default_factory=list)
    count: int = 0
    inside: dict[str, frozenset[tuple[str, str]]] = field(default_factory=dict)
    undone: dict[str, tuple[str, str]] = field(default_factory=dict)
    planted: set[tuple[int, int]] = field(default_factory=set)

    def plant(self, step: int, attempt: int) -> None:
        """Someone else puts an effect under an attempt that nothing is recorded under."""
        if (step, attempt) not in self.effects:
            self.planted.add((step, attempt))

    def present(self) -> frozenset[tuple[str, str]]:
        """The effects in the head."""
        return self.inside.get(self.head, frozenset())

    def drift(self) -> None:
        """Someone edits the live directory."""
        present = self.present()
        self.head = self._new("drift")
        self.inside[self.head] = present

    def propose(self, run: Run, action: a.Propose) -> Result:
        """What would run, on the present head."""
        spec = run.steps[action.step - 1].spec
        request = self.request(spec, self.head)
        return "ok", Prepared(request, self.head, digest("proposal", request))

    def prepare(self, run: Run, action: a.Prepare, outcome: str) -> Result:
        """Computes once per key. `outcome`: changed, unchanged, failed, unknown, or the name of a reason."""
        key = (action.step, action.attempt)
        if key in self.planted:
            return error("EFFECT_NOT_OWNED")
        known = self.effects.get(key)
        if known is not None:
            return self._answer(known)
        step = run.steps[action.step - 1]
        request = self.request(step.spec, self.head, step.draft_payload)
        if action.expected_request and action.expected_request != request:
            return error("EFFECT_DIGEST_MISMATCH")
        if outcome == "unknown":
            return error("OUTCOME_UNKNOWN")
        if outcome not in ("changed", "unchanged", "failed"):
            return error(outcome)
        self.ran.append(key)
        self.effects[key] = self._compute(step.spec, request, outcome)
        return self._answer(self.effects[key])

    def _compute(self, spec: StepSpec, request: str, outcome: str) -> Effect:
        base = self.head
        if outcome == "failed":
            said = "`interlock step retry RUN STEP` tries again."
            failure = Failure("COMMAND_FAILED", "It failed.", fix=said, metadata={"exit_code": "1"})
            return Effect("FAILED", Prepared(request, base, digest("failed", request), exit_code=1), failure)
        writes = outcome == "changed" and spec.kind in (StepKind.EDIT_FILE, StepKind.RUN_COMMAND)
        result = self._new("result") if writes else base
        return Effect(
            "PREPARED", Prepared(request, base, digest(request, result), digest("e", request, result), result)
        )

    def _answer(self, effect: Effect) -> Result:
        if effect.state == "DISCARDED":
            return error("EFFECT_DISCARDED")
        return "ok", (effect.prepared, effect.failure)

    def apply(self, run: Run, action: a.Apply, disjoint: bool) -> Result:
        """Publishes what was reviewed, once; refuses on an overlap."""
        effect = self.effects.get((action.step, action.attempt))
        assert (action.step, action.attempt) not in self.planted, "asked to publish someone else's effect"
        if effect is None:
            return error("EFFECT_NOT_FOUND")
        if effect.state == "APPLIED":
            return "ok", (effect.head, False)
        assert effect.state == "PREPARED", f"asked to publish an effect that is {effect.state}"
        prepared = effect.prepared
        assert action.effect_digest == prepared.effect_digest
        assert action.approved_digest in (prepared.effect_digest, prepared.request_digest)
        merged = self.head != prepared.base_tree
        if merged and not disjoint:
            return error("WORKSPACE_DRIFTED")
        changed = {(prepared.base_tree, prepared.result_tree)} if prepared.changes_tree else set()
        present = self.present() | changed
        self.head = self._new("merge") if merged else prepared.result_tree
        self.inside[self.head] = present
        effect.state, effect.head = "APPLIED", self.head
        return "ok", (self.head, merged)

    def discard(self, action: a.Discard) -> Result:
        """Throws an attempt away; it is never computed or published afterwards."""
        key = (action.step, action.attempt)
        if key in self.planted:
            return "ok", None  # refused, which the worker takes for done
        known = self.effects.get(key)
        assert known is None or known.state != "APPLIED", "asked to throw away what is published"
        self.effects[key] = (
            replace(known, state="DISCARDED") if known else Effect("DISCARDED", Prepared("", "", ""))
        )
        return "ok", None

    def restore(self, action: a.Restore) -> Result:
        """Publishes an older tree, once; with what others did meanwhile, unless it is to be that very tree."""
        if action.operation_id not in self.undone:
            before, present = self.head, self.present()
            self.head = action.tree
            if action.from_tree and before != action.from_tree:
                for old, new in action.changes:
                    assert (old, new) not in present, "asked to put back what is there"
                    present = present - {(new, old)} if (new, old) in present else present | {(old, new)}
                self.head = self._new("merge")
                self.inside[self.head] = present
            self.undone[action.operation_id] = self.head, before
        return "ok", self.undone[action.operation_id]

    def take_out(self, action: a.TakeOut, *, conflict: bool = False) -> Result:
        """Takes one effect out of the head, once; refuses on an overlap with what came later."""
        if action.operation_id in self.undone:
            return "ok", self.undone[action.operation_id]
        pair = action.to_tree, action.from_tree
        assert pair in self.present(), "asked to take out what is not there"
        if conflict:
            return error("REVERT_CONFLICT")
        before, present = self.head, self.present() - {pair}
        self.head = action.to_tree if before == action.from_tree else self._new("revert")
        self.inside[self.head] = present
        self.undone[action.operation_id] = self.head, before
        return "ok", (self.head, before)

    def request(self, spec: StepSpec, base: str, draft: str = "") -> str:
        """The request digest: what is asked, and on which tree."""
        return digest(spec.kind.value, dict(spec.input), base, draft)

    def kept(self) -> list[tuple[int, int]]:
        """Effects that are prepared, neither published nor thrown away, and would change something."""
        return [k for k, e in self.effects.items() if e.state == "PREPARED" and e.prepared.changes_tree]

    def _new(self, what: str) -> str:
        self.count += 1
        return digest(what, self.count)


def call(purpose: str, cost: int | None = 5, tokens: int | None = 10) -> ModelCall:
    """A call of a model, with or without a price."""
    return ModelCall(
        purpose,
        "local",
        "tiny",
        f"{purpose}/v1",
        digest("prompt"),
        digest("reply"),
        prompt_tokens=tokens,
        cost_micros=cost,
    )


GATED = (Gate.COMMAND, Gate.EFFECT, Gate.BOTH)

"""The policies in force: the installation's and each run's own. The one place where rules are evaluated.

Behind it is `interlock.common.policy`; the domain gets what the rules said as a `Ruling` and knows no expressions.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import PROVIDER
from interlock.common.policy.document import check_rules, invalid
from interlock.common.policy.judge import Layer, digest_of, judge, layer_of
from interlock.common.policy.model import PolicyDocument
from interlock.orchestrator.convert import rulings
from interlock.orchestrator.domain.model import Gate, Policy, Ruling, Run, Step
from interlock.orchestrator.store.records import Payload

_KEPT: Final = 256
"""Compiled policies of runs that are kept; one more is compiled again when it is asked for."""


class Policies:
    """Decides by rules. Safe for any number of tasks of one loop.

    Args:
        installed: the installation's policy; None = it has none.
        provider_groups: groups of the OpenID provider that policies may name. Raises POLICY_INVALID for others that
            the installation's does.
    """

    def __init__(
        self, installed: PolicyDocument | None = None, *, provider_groups: frozenset[str] | None = None
    ) -> None:
        self.installed = installed
        self._provider_groups = provider_groups
        if installed is not None:
            asked = [each for rule in installed.rules for stage in rule.stages for each in stage.approvers]
            names = (*asked, *_members(installed.groups))
            self._check_provider(names, installed.name, Reason.POLICY_INVALID)
        self._installed = (layer_of(installed),) if installed is not None else ()
        self._of_runs: OrderedDict[str, Layer] = OrderedDict()
        self.digest = digest_of(self._installed)

    def digest_for(self, policy: Policy) -> str:
        """Digest of all policies that are in force for a run with this one; empty without rules."""
        return digest_of(self._layers(policy))

    def check(self, policy: Policy) -> None:
        """Raises POLICY_INVALID for unusable rules, INVALID_ARGUMENT for gates that are not the run's to open."""
        document = rulings.document(policy)
        problems = check_rules(document.rules, document.groups, "policy.rules")
        if problems:
            raise invalid(problems)
        asked = [each for rule in document.rules for stage in rule.stages for each in stage.approvers]
        asked += [each for stage in policy.stages for each in stage.approvers]
        names = (*asked, *policy.escalate_to, *_members(document.groups))
        self._check_provider(names, policy.name, Reason.INVALID_ARGUMENT)
        if self.installed is not None:
            _check_gates(policy, self.installed.name)

    def _check_provider(self, names: Iterable[str], policy: str, reason: Reason) -> None:
        """Whoever is named as the provider's group can be that: a name that nobody has would wait for ever."""
        if self._provider_groups is None:
            return
        asked = (name.removeprefix(PROVIDER) for name in names if name.startswith(PROVIDER))
        if unknown := sorted(set(asked) - self._provider_groups):
            known = ", ".join(sorted(self._provider_groups)) or "none"
            raise InterlockError(
                reason,
                f"The policy {policy!r} names the provider's group {unknown[0]!r}; known are {known}.",
                field="policy.stages",
                fix=f"Name it in INTERLOCK_OIDC_APPROVER_GROUPS: {unknown[0]}=GROUP.",
            )

    def check_current(self, run: Run, step: Step) -> None:
        """Raises POLICY_CHANGED when other policies are in force than those that decided about the attempt."""
        decided = step.ruling.digest if step.ruling else ""
        if decided == self.digest_for(run.policy):
            return
        raise InterlockError(
            Reason.POLICY_CHANGED,
            f"The policy has changed since step {step.number} of {run.run_id} was decided about; nothing of it is "
            "published, and what is in force now decides about a new preview.",
            metadata={"decided": decided, "in_force": self.digest_for(run.policy)},
        )

    def rule(
        self, run: Run, step: Step, fields: Mapping[str, Any], effect: rulings.Effect | None = None
    ) -> tuple[Ruling, list[Payload]]:
        """What the rules say about the step, and what they were evaluated over.

        Args:
            fields: the step's input with its texts.
            effect: what it did in its fork; None before it ran.
        """
        inputs = rulings.inputs(run, step, fields, effect)
        named = step.spec.kind.value in run.policy.named_gates and not run.policy.rules
        finding = judge(self._layers(run.policy), inputs, named_gate=named)
        digest, kept = rulings.kept_inputs(inputs)
        return rulings.ruling(finding, digest, installed=bool(self._installed)), [kept]

    def _layers(self, policy: Policy) -> tuple[Layer, ...]:
        return (*self._installed, self._own(policy)) if policy.rules else self._installed

    def _own(self, policy: Policy) -> Layer:
        document = rulings.document(policy)
        known = self._of_runs.get(document.digest)
        if known is None:
            known = self._of_runs[document.digest] = layer_of(document)
            if len(self._of_runs) > _KEPT:
                self._of_runs.popitem(last=False)
        self._of_runs.move_to_end(document.digest)
        return known


def _members(groups: Mapping[str, Iterable[str]]) -> Iterable[str]:
    return (name for members in groups.values() for name in members)


def _check_gates(policy: Policy, installed: str) -> None:
    """A run may ask for more than its installation, not for less."""
    opened = [
        (f"{kind}_gate", gate)
        for kind, gate in (("edit_file", policy.edit_file_gate), ("run_command", policy.run_command_gate))
        if gate is Gate.NONE
    ]
    if policy.steps_may_weaken:
        opened.append(("steps_may_weaken", Gate.NONE))
    if opened:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"The run's policy opens {opened[0][0]}, which the installation's policy {installed!r} does not let it.",
            field=f"policy.{opened[0][0]}",
            fix="Leave it out; a rule of the installation's policy can allow what is meant.",
            metadata={"policy": installed},
        )

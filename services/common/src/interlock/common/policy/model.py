"""A policy document, and what the rules of the policies in force come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from interlock.common.digests import digest_json
from interlock.common.plan.model import PlanRule, PlanStage
from interlock.v1 import rules_pb2

_DOMAIN: Final = "interlock.policy.v1"


class Verdict(StrEnum):
    """What rules come to; DEFAULT: none is about the step."""

    DENY = "deny"
    REQUIRE = "require"
    ALLOW = "allow"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Example:
    """What a policy is to say about a step: its verdict and, where one is named, the rule that decides."""

    name: str
    inputs: rules_pb2.PolicyInputs
    expect: Verdict
    rule: str = ""


@dataclass(frozen=True, slots=True)
class PolicyDocument:
    """A policy as it was written. `source` is the file or shipped policy it came from."""

    name: str
    version: str = ""
    description: str = ""
    rules: tuple[PlanRule, ...] = ()
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    examples: tuple[Example, ...] = ()
    source: str = ""

    @property
    def digest(self) -> str:
        """Over all of it that decides, and its name and version; `sha256:…`."""
        return digest_json(
            {
                "name": self.name,
                "version": self.version,
                "rules": [_facts(rule) for rule in self.rules],
                "groups": {name: list(people) for name, people in self.groups.items()},
            },
            _DOMAIN,
        )


def _facts(rule: PlanRule) -> dict[str, Any]:
    return {
        "name": rule.name,
        "effect": rule.effect,
        "when": rule.when,
        "reason": rule.reason,
        "gate": rule.gate,
        "stages": [[stage.name, stage.quorum, list(stage.approvers)] for stage in rule.stages],
        "separate_requester": rule.separate_requester,
        "always": rule.always,
        "network": rule.network,
    }


@dataclass(frozen=True, slots=True)
class Hit:
    """A rule that is about the step; `problem`: why it could not be evaluated."""

    policy: str
    rule: PlanRule
    observed: bool
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Named:
    """A policy that was in force."""

    name: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What the rules in force come to. Its fields are those of the journal's ruling (docs/journal-format.md)."""

    verdict: Verdict
    digest: str
    policies: tuple[Named, ...]
    hits: tuple[Hit, ...] = ()
    observed: bool = False
    gate: str = ""
    previews: bool = False
    shown: bool = False
    stages: tuple[PlanStage, ...] = ()
    separate_requester: bool = False
    always: bool = False

"""Policies by name: those that are shipped, and files."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from interlock.common.errors import InterlockError, Reason
from interlock.common.plan.limits import SHIPPED_POLICIES
from interlock.common.plan.model import PlanRule
from interlock.common.policy.document import MAX_POLICY_BYTES, parse_policy
from interlock.common.policy.model import PolicyDocument


@lru_cache(maxsize=8)
def shipped(name: str) -> PolicyDocument:
    """A policy that comes with Interlock. Raises POLICY_INVALID for a name that none has."""
    return parse_policy(shipped_text(name), name)


def shipped_text(name: str) -> str:
    """Its document. Raises POLICY_INVALID for a name that none has."""
    if name not in SHIPPED_POLICIES:
        raise InterlockError(
            Reason.POLICY_INVALID,
            f"{name[:80]!r} is no policy that is shipped; those are {', '.join(SHIPPED_POLICIES)}.",
            fix="Name one of these, or give a file (with a / or a . in its name).",
        )
    return files(__package__).joinpath(f"shipped/{name}.yaml").read_text(encoding="utf-8")


def text_of(name: str) -> str:
    """The document of a shipped policy, by its name, or of a file, by a path with `/` or `.` in it.

    Raises POLICY_INVALID for a file that cannot be read, or has more than 1 MiB, or is not UTF-8.
    """
    if "/" not in name and "." not in name:
        return shipped_text(name)
    try:
        with Path(name).open("rb") as file:
            raw = file.read(MAX_POLICY_BYTES + 1)
        return raw.decode("utf-8")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "it is not UTF-8 text"
        raise InterlockError(
            Reason.POLICY_INVALID,
            f"The policy {name} cannot be read: {why}.",
            fix="Give a file that exists, or the name of a shipped policy.",
            metadata={"file": name},
        ) from None


def named_policy(name: str) -> PolicyDocument:
    """The policy that `text_of` finds. Raises POLICY_INVALID."""
    return parse_policy(text_of(name), name)


def with_included(include: Iterable[str], rules: Iterable[PlanRule]) -> tuple[PlanRule, ...]:
    """These rules, then those of the shipped policies that are named; what two of them share stands once.

    Raises POLICY_INVALID for a name that no policy has, and for a name of two different rules.
    """
    found: dict[str, PlanRule] = {}
    for each in (*rules, *(rule for name in include for rule in shipped(name).rules)):
        if found.setdefault(each.name, each) != each:
            raise InterlockError(
                Reason.POLICY_INVALID,
                f"Two different rules of the run's policy are named {each.name!r}.",
                field="policy.rules",
                fix="Give each rule a name of its own; `interlock policy show NAME` has those of the shipped ones.",
            )
    return tuple(found.values())

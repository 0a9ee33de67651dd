"""Who may approve a step, and whether enough people have: stages in order, a quorum in each.

A person counts once in an approval, whatever the stage: two pairs of eyes are two people. Who decides in somebody
else's place, by delegation, has what that one has and nothing more, and counts as both. An agent counts as its owner,
and a name as every other that differs from it by case alone. Everyone who may vote in some
stage may reject, skip and edit at any time. Those to whom an approval was escalated may vote in each of its stages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import PROVIDER, folded, is_reserved
from interlock.orchestrator.domain.asking import deciders
from interlock.orchestrator.domain.model import Group, Policy, Run, Stage, Step, Vote
from interlock.orchestrator.domain.people import same_person

GROUP = "group:"


@dataclass(frozen=True, slots=True)
class Voter:
    """Who decides; with `on_behalf_of`, in whose place. `groups` are the provider's that they are in."""

    subject: str
    on_behalf_of: str = ""
    groups: tuple[str, ...] = ()

    @property
    def right(self) -> str:
        """Whose right to decide it is."""
        return self.on_behalf_of or self.subject

    def is_among(self, people: frozenset[str]) -> bool:
        """Whether the right is one of these: of a name, or, for oneself alone, of a group of the provider."""
        groups = () if self.on_behalf_of else self.groups
        named = self.right in people and not is_reserved(self.right)  # a group's name is nobody's
        return named or any(PROVIDER + group in people for group in groups)

    @property
    def people(self) -> frozenset[str]:
        """Everyone whom the decision counts for."""
        return frozenset({self.subject, self.right})


def current_stage(stages: Sequence[Stage], votes: Iterable[Vote]) -> int:
    """The first stage that has not enough votes, from 0; the number of stages when all have."""
    count = Counter(vote.stage for vote in votes)
    short = (number for number, stage in enumerate(stages) if count[number] < stage.quorum)
    return next(short, len(stages))


def named(of: Iterable[Group], names: Iterable[str]) -> tuple[str, ...]:
    """Subjects, groups resolved, in order."""
    groups = {group.name: group.subjects for group in of}
    found: set[str] = set()
    for name in names:
        found.update(groups.get(name[len(GROUP) :], ()) if name.startswith(GROUP) else (name,))
    return tuple(sorted(found))


def approvers(of: Iterable[Group], stage: Stage, step: Step | None = None) -> frozenset[str]:
    """Who may vote in a stage, groups resolved; empty = everyone with the role. Of a step: also after escalation."""
    people = frozenset(named(of, stage.approvers))
    return people | _escalated(step) if people and step is not None else people


def _escalated(step: Step) -> frozenset[str]:
    asked = step.approval
    return frozenset(asked.escalate_to if asked is not None and step.escalated_at is not None else ())


def check_may_approve(run: Run, step: Step, approval_id: str, voter: Voter) -> None:
    """Raises PERMISSION_DENIED unless they may vote now; APPROVAL_ALREADY_VOTED when one of them has."""
    check_apart(run, step, approval_id, voter)
    for vote in step.votes:
        if again := same_person(run, voter.people, sorted(vote.people)):
            raise InterlockError(
                Reason.APPROVAL_ALREADY_VOTED,
                f"{again.words} has approved {approval_id} before.",
                metadata={"approval_id": approval_id, "subject": again.other, "why": again.why},
            )
    who = deciders(run, step)
    number = current_stage(who.stages, step.votes)
    if number < len(who.stages):
        stage = who.stages[number]
        _check_named(approvers(who.groups, stage, step), stage, number, approval_id, voter)


def check_apart(run: Run, step: Step, approval_id: str, voter: Voter) -> None:
    """Raises PERMISSION_DENIED where who asked and who approves are to be kept apart, and are not."""
    if not deciders(run, step).separate_requester:
        return
    found = same_person(run, voter.people, (run.created_by, *step.authors))
    if found is None:
        return
    asked = "created the run" if found.other == run.created_by else "asked for the step or edited it"
    raise InterlockError(
        Reason.PERMISSION_DENIED,
        f"{found.words} {asked}, and the policy {run.policy.name!r} wants somebody else to approve it.",
        fix="Ask another approver; rejecting, skipping and editing remain possible.",
        metadata={
            "approval_id": approval_id,
            "subject": found.one,
            "asked_by": found.other,
            "why": found.why,
        },
    )


def check_may_refuse(run: Run, step: Step, approval_id: str, voter: Voter) -> None:
    """Raises PERMISSION_DENIED unless they may vote in some stage, or created the run."""
    who = deciders(run, step)
    people = [approvers(who.groups, stage, step) for stage in who.stages]
    if (
        not people
        or voter.right == run.created_by
        or any(not each or voter.is_among(each) for each in people)
    ):
        return
    _check_named(frozenset().union(*people), who.stages[0], 0, approval_id, voter)


def _check_named(people: frozenset[str], stage: Stage, number: int, approval_id: str, voter: Voter) -> None:
    if not people or voter.is_among(people):
        return
    title = f" ({stage.name})" if stage.name else ""
    raise InterlockError(
        Reason.PERMISSION_DENIED,
        f"{voter.right} is not among those who decide about {approval_id} in stage {number + 1}{title}.",
        fix=f"Ask one of: {', '.join(sorted(people)[:10])}. Who has a delegation from one of them names that one.",
        metadata={"approval_id": approval_id, "subject": voter.right, "stage": str(number + 1)},
    )


def check_stages(policy: Policy) -> None:
    """Raises INVALID_ARGUMENT for stages that nobody could ever complete, or that name no group."""
    for number, stage in enumerate(policy.stages):
        field = f"policy.stages[{number}]"
        _check_groups(policy, stage.approvers, field)
        people = approvers(policy.groups, stage)
        count = len({folded(name) for name in people})
        if people and count < stage.quorum and not any(name.startswith(PROVIDER) for name in people):
            why = f"wants {stage.quorum} people to approve and names {count}"
            raise _bad(field, why, "Name more of them, or lower the quorum.")
    _check_groups(policy, policy.escalate_to, "policy.escalate_to")
    if bool(policy.escalate_us) != bool(policy.escalate_to):
        why = "says when without whom" if policy.escalate_us else "says whom without when"
        raise _bad("policy.escalate_to", why, "Give both escalate_after and escalate_to, or neither.")


def _check_groups(policy: Policy, names: Iterable[str], field: str) -> None:
    groups = {group.name for group in policy.groups}
    unknown = sorted(name for name in names if name.startswith(GROUP) and name[len(GROUP) :] not in groups)
    if unknown:
        raise _bad(field, f"names {unknown[0]!r}, which is not among the policy's groups", "Add the group.")


def _bad(field: str, why: str, fix: str) -> InterlockError:
    return InterlockError(Reason.INVALID_ARGUMENT, f"The policy's {field[7:]} {why}.", field=field, fix=fix)

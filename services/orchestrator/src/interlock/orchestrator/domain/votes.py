"""Who may approve a step, and whether enough people have: stages in order, a quorum in each.

A person counts once in an approval, whatever the stage: two pairs of eyes are two people. Everyone who may vote in
some stage may reject, skip and edit at any time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain.asking import deciders
from interlock.orchestrator.domain.model import Group, Policy, Run, Stage, Step, Vote

GROUP = "group:"


def current_stage(stages: Sequence[Stage], votes: Iterable[Vote]) -> int:
    """The first stage that has not enough votes, from 0; the number of stages when all have."""
    count = Counter(vote.stage for vote in votes)
    short = (number for number, stage in enumerate(stages) if count[number] < stage.quorum)
    return next(short, len(stages))


def approvers(of: Iterable[Group], stage: Stage) -> frozenset[str]:
    """Who may vote in a stage, groups resolved; empty = everyone with the role."""
    groups = {group.name: group.subjects for group in of}
    found: set[str] = set()
    for name in stage.approvers:
        found.update(groups.get(name[len(GROUP) :], ()) if name.startswith(GROUP) else (name,))
    return frozenset(found)


def check_may_approve(run: Run, step: Step, approval_id: str, subject: str) -> None:
    """Raises PERMISSION_DENIED unless the subject may vote now; APPROVAL_ALREADY_VOTED when it has."""
    who = deciders(run, step)
    if who.separate_requester and subject in (run.created_by, *step.authors):
        asked = "created the run" if subject == run.created_by else "asked for the step or edited it"
        raise InterlockError(
            Reason.PERMISSION_DENIED,
            f"{subject} {asked}, and the policy {run.policy.name!r} wants somebody else to approve it.",
            fix="Ask another approver; rejecting, skipping and editing remain possible.",
            metadata={"approval_id": approval_id, "subject": subject},
        )
    if any(vote.subject == subject for vote in step.votes):
        raise InterlockError(
            Reason.APPROVAL_ALREADY_VOTED,
            f"{subject} has approved {approval_id} before.",
            metadata={"approval_id": approval_id, "subject": subject},
        )
    number = current_stage(who.stages, step.votes)
    if number < len(who.stages):
        stage = who.stages[number]
        _check_named(approvers(who.groups, stage), stage, number, approval_id, subject)


def check_may_refuse(run: Run, step: Step, approval_id: str, subject: str) -> None:
    """Raises PERMISSION_DENIED unless the subject may vote in some stage, or created the run."""
    who = deciders(run, step)
    named = [approvers(who.groups, stage) for stage in who.stages]
    if not named or subject == run.created_by or any(not each or subject in each for each in named):
        return
    stage = who.stages[0]
    _check_named(frozenset().union(*named), stage, 0, approval_id, subject)


def _check_named(named: frozenset[str], stage: Stage, number: int, approval_id: str, subject: str) -> None:
    if not named or subject in named:
        return
    title = f" ({stage.name})" if stage.name else ""
    raise InterlockError(
        Reason.PERMISSION_DENIED,
        f"{subject} is not among those who decide about {approval_id} in stage {number + 1}{title}.",
        fix=f"Ask one of: {', '.join(sorted(named)[:10])}.",
        metadata={"approval_id": approval_id, "subject": subject, "stage": str(number + 1)},
    )


def check_stages(policy: Policy) -> None:
    """Raises INVALID_ARGUMENT for stages that nobody could ever complete, or that name no group."""
    groups = {group.name for group in policy.groups}
    for number, stage in enumerate(policy.stages):
        field = f"policy.stages[{number}]"
        unknown = sorted(
            name for name in stage.approvers if name.startswith(GROUP) and name[len(GROUP) :] not in groups
        )
        if unknown:
            raise _bad(
                field, f"names {unknown[0]!r}, which is not among the policy's groups", "Add the group."
            )
        people = approvers(policy.groups, stage)
        if people and len(people) < stage.quorum:
            why = f"wants {stage.quorum} people to approve and names {len(people)}"
            raise _bad(field, why, "Name more of them, or lower the quorum.")


def _bad(field: str, why: str, fix: str) -> InterlockError:
    return InterlockError(Reason.INVALID_ARGUMENT, f"The policy's {field[7:]} {why}.", field=field, fix=fix)

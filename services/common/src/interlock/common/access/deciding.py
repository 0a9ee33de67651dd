"""Who may approve, as far as an approval's record tells it. The orchestrator has the last word on each decision."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from interlock.common.access.held import has_role
from interlock.common.identity import PROVIDER, Identity, folded


def may_approve(
    identity: Identity,
    stages: Iterable[Collection[str]],
    excluded: Collection[str],
    place_of: Collection[str] = (),
) -> bool:
    """Whether the caller may approve at some stage, now or later; also in the place of one of `place_of`.

    It stays the same for as long as the approval is open: whoever was told of it is told what becomes of it.

    Args:
        identity: the caller.
        stages: for each stage who may approve in it, groups resolved; nobody named = everyone with the role.
        place_of: who has given them their right, by a delegation that is in force.
        excluded: who is kept apart because they asked, or because whoever asked is theirs.
    """
    if not has_role(identity, "approver"):
        return False
    if excluded and not {folded(identity.subject), folded(identity.owner)}.isdisjoint(map(folded, excluded)):
        return False
    apart = set(map(folded, excluded))
    places = (name for name in place_of if folded(name) not in apart)
    mine = {identity.subject, *places, *(PROVIDER + group for group in identity.groups)}
    named = list(stages)
    return not named or any(not each or not mine.isdisjoint(each) for each in named)

"""Nobody takes all of what there is for everybody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import Identity


def share_of(caller: Identity) -> str:
    """By what a caller is counted; empty for the installation's own services, who ask for others."""
    return "" if caller.authentication == "shared" else caller.subject


class Shares:
    """How many of something each caller may have at once.

    Args:
        each: most for one caller.
        what: what there is, in the plural.
    """

    def __init__(self, each: int, what: str) -> None:
        self._each = each
        self._what = what
        self._held: Counter[str] = Counter()

    @contextmanager
    def one(self, share: str) -> Iterator[None]:
        """Holds one for the block. Raises RESOURCE_EXHAUSTED."""
        if not share:
            yield
            return
        if self._held[share] >= self._each:
            raise InterlockError(
                Reason.RESOURCE_EXHAUSTED,
                f"{share} has {self._each} {self._what} at once, and no caller may have more.",
                fix="Share one subscription among those who listen, or end some.",
                metadata={"limit": str(self._each)},
                retry_after=5.0,
            )
        self._held[share] += 1
        try:
            yield
        finally:
            self._held[share] -= 1
            if not self._held[share]:
                del self._held[share]

"""What was shown to whom: so that an approval without a digest is about what its sender looked at last."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

_MOST = 10_000


class Seen:
    """Digests by credential, run and step; the oldest go when there are too many. Lost with the process, on purpose:
    who looks again sees what there is then.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._digests: OrderedDict[tuple[bytes, str, int], str] = OrderedDict()

    def note(self, credential: str, run_id: str, step: int, digest: str) -> None:
        """The digest was shown."""
        key = _key(credential, run_id, step)
        self._digests[key] = digest
        self._digests.move_to_end(key)
        if len(self._digests) > self._most:
            self._digests.popitem(last=False)

    def last(self, credential: str, run_id: str, step: int) -> str:
        """What was shown last; empty when nothing was."""
        return self._digests.get(_key(credential, run_id, step), "")


def _key(credential: str, run_id: str, step: int) -> tuple[bytes, str, int]:
    # The credential itself is not kept.
    return hashlib.sha256(credential.encode()).digest(), run_id, step

"""How often driving a run has met a defect without anything else happening to it, and for how long to leave it alone.

A defect is what no retry is known to cure: an error of ours, or a result that the state machine or the database
refuses. It may still be of the moment, so it is tried again with growing pauses; a run that meets it LIMIT times is
set aside for a person. Errors that pass (an executor that is away) are not counted here and are waited for.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

LIMIT: Final = 5
"""Tries after which a run is set aside: some eight seconds."""

_FIRST: Final = 0.5
_LONGEST: Final = 300.0
_MOST: Final = 10_000


class Defects:
    """Counts of this process; another one counts anew."""

    def __init__(self) -> None:
        self._met: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def met(self, run_id: str, seq: int) -> int:
        """One more at the run's event `seq`; how many there were since anything was recorded of the run."""
        at, count = self._met.pop(run_id, (seq, 0))
        count = count + 1 if at == seq else 1
        self._met[run_id] = (seq, count)
        while len(self._met) > _MOST:
            self._met.popitem(last=False)
        return count

    @staticmethod
    def pause(count: int) -> float:
        """Seconds to leave the run alone after its `count`th: doubling, at most five minutes."""
        return min(_FIRST * 2.0 ** min(count - 1, 20), _LONGEST)

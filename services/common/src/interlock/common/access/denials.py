"""Refused calls of known callers, on their way to the record.

Nothing waits for the record: a call is refused whether or not it can be written down at once. What is new is
written within a moment; equal refusals after it are added up and written when their minute is over. A caller who
is refused more than `PER_SUBJECT` different things in a minute gets one entry for all the rest of it, so that
nobody fills the record.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from interlock.common import logs, tasks
from interlock.common.clock import Clock
from interlock.common.errors import InterlockError

PER_SUBJECT: Final = 100
BATCH: Final = 100
MINUTE: Final = 60.0
_WAITING: Final = 10_000
_PAUSE_SECONDS: Final = 0.2
_RETRY_SECONDS: Final = 2.0
_MESSAGE: Final = 500
_RESOURCE: Final = 128
_REST: Final = "More different refusals than are told apart in a minute."
_log = logs.get("access")


@dataclass(frozen=True, slots=True)
class Denial:
    """One refusal: who was refused what, about which resource, and why."""

    subject: str
    authentication: str
    rpc: str
    resource: str
    message: str


class Sink(Protocol):
    """Where refusals go. Must not block."""

    def note(self, denial: Denial) -> None:
        """Takes one refusal."""
        ...


Write = Callable[[Sequence[tuple[Denial, int]]], Awaitable[None]]
"""Writes refusals with their counts, at most BATCH of them. Raises InterlockError when it cannot now."""


class DenialLog:
    """Collects refusals and writes them in batches."""

    def __init__(self, write: Write, clock: Clock) -> None:
        self._write = write
        self._clock = clock
        self._waiting: Counter[Denial] = Counter()
        self._known: set[Denial] = set()
        self._kinds: Counter[str] = Counter()
        self._minute_ends = 0.0
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def note(self, denial: Denial) -> None:
        """Takes one refusal."""
        self._turn_minute()
        entry = replace(denial, resource=denial.resource[:_RESOURCE], message=denial.message[:_MESSAGE])
        if entry not in self._known and self._kinds[entry.subject] >= PER_SUBJECT:
            entry = replace(entry, rpc="", resource="", message=_REST)
        if entry not in self._known:
            if len(self._known) >= _WAITING:
                return  # more callers at once than anybody has; the log has every refusal
            self._kinds[entry.subject] += 1
            self._known.add(entry)
            self._news.set()
        self._waiting[entry] += 1

    def start(self) -> None:
        """Begins to write."""
        self._task = asyncio.create_task(self._run(), name="denials")

    async def close(self) -> None:
        """Writes what waits, once, and ends."""
        await tasks.stop(self._task)
        try:
            await self._flush()
        except InterlockError as error:
            _log.warning("refusals were not written", count=self._waiting.total(), error=str(error))

    def _turn_minute(self) -> None:
        if self._clock.monotonic() >= self._minute_ends:
            self._minute_ends = self._clock.monotonic() + MINUTE
            self._known.clear()
            self._kinds.clear()

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(MINUTE):
                    await self._news.wait()
                    await asyncio.sleep(_PAUSE_SECONDS)  # lets equal ones come together
            try:
                await self._flush()
            except InterlockError as error:
                _log.warning("refusals wait to be written", count=self._waiting.total(), error=str(error))
                await asyncio.sleep(_RETRY_SECONDS)

    async def _flush(self) -> None:
        self._news.clear()
        while batch := self._waiting.most_common(BATCH):
            await self._write(batch)
            self._waiting -= Counter(dict(batch))

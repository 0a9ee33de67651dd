from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from interlock.common.access import denials
from interlock.common.access.denials import BATCH, MINUTE, PER_SUBJECT, Denial, DenialLog
from interlock.common.clock import ManualClock
from interlock.common.errors import InterlockError, Reason


def denial(resource: str = "run-1", subject: str = "ada") -> Denial:
    return Denial(subject, "token:tok-1", "interlock.v1.Approval/Decide", resource, "No.")


class Record:
    """Where refusals are written, in memory; can be out of reach."""

    def __init__(self) -> None:
        self.rows: list[tuple[Denial, int]] = []
        self.away = False
        self.changed = asyncio.Event()

    async def write(self, batch: Sequence[tuple[Denial, int]]) -> None:
        assert len(batch) <= BATCH
        if self.away:
            raise InterlockError(Reason.UNAVAILABLE, "away")
        self.rows += batch
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def total(self) -> int:
        return sum(count for _, count in self.rows)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denials, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(denials, "_RETRY_SECONDS", 0.01)


@asynccontextmanager
async def started(record: Record, clock: ManualClock) -> AsyncIterator[DenialLog]:
    log = DenialLog(record.write, clock)
    log.start()
    try:
        yield log
    finally:
        await log.close()


async def test_the_first_is_written_at_once_and_its_equals_are_added_up() -> None:
    record = Record()
    async with started(record, ManualClock()) as log:
        log.note(denial())
        await record.until(lambda: record.rows == [(denial(), 1)])
        for _ in range(1000):
            log.note(denial())
    assert record.rows == [(denial(), 1), (denial(), 1000)]


async def test_a_new_minute_is_a_new_entry() -> None:
    record, clock = Record(), ManualClock()
    async with started(record, clock) as log:
        log.note(denial())
        await record.until(lambda: record.total() == 1)
        clock.advance(MINUTE)
        log.note(denial())
        await record.until(lambda: record.total() == 2)


async def test_nobody_fills_the_record() -> None:
    record = Record()
    async with started(record, ManualClock()) as log:
        for number in range(5 * PER_SUBJECT):
            log.note(denial(f"run-{number}"))
        log.note(denial(subject="eve"))
    assert len(record.rows) == PER_SUBJECT + 2
    assert record.total() == 5 * PER_SUBJECT + 1
    rest = [entry for entry, count in record.rows if count == 4 * PER_SUBJECT]
    assert [entry.resource for entry in rest] == [""]


async def test_what_cannot_be_written_waits() -> None:
    record = Record()
    record.away = True
    async with started(record, ManualClock()) as log:
        log.note(denial())
        log.note(denial("run-2"))
        record.away = False
        await record.until(lambda: record.total() == 2)
    assert {entry.resource for entry, _ in record.rows} == {"run-1", "run-2"}


async def test_long_texts_are_cut() -> None:
    record = Record()
    async with started(record, ManualClock()) as log:
        log.note(Denial("ada", "shared", "rpc", "r" * 10_000, "m" * 10_000))
    ((entry, _),) = record.rows
    assert (len(entry.resource), len(entry.message)) == (128, 500)

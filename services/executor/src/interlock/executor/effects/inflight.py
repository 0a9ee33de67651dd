"""Work under way, by key: a repeated call joins it, a caller that goes away does not stop it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from interlock.common.errors import InterlockError, Reason
from interlock.executor.domain.caller import BY_HAND, Caller, require_same
from interlock.executor.domain.model import EffectKey
from interlock.executor.effects.store import Record

Work = Callable[[asyncio.Event], Awaitable[Record]]


class _Job:
    def __init__(self, kind: str, fingerprint: str, owner: str, work: Work) -> None:
        self.kind, self.fingerprint, self.owner = kind, fingerprint, owner
        self.cancel = asyncio.Event()
        self.task: asyncio.Task[Record] = asyncio.ensure_future(_run(work, self.cancel))


async def _run(work: Work, cancel: asyncio.Event) -> Record:
    return await work(cancel)


class InFlight:
    """One job per key at most, each a task of its own."""

    def __init__(self) -> None:
        self._jobs: dict[EffectKey, _Job] = {}
        self._closed = False

    async def join(
        self, key: EffectKey, kind: str, fingerprint: str, work: Work, caller: Caller = BY_HAND
    ) -> Record:
        """Start the work, or join the same work that is under way; work of another kind is waited for.

        Raises EFFECT_NOT_OWNED for work of the same kind that another owner began, REQUEST_ID_REUSED for other
        work of the same kind, UNAVAILABLE while stopping.
        """
        while (job := self._jobs.get(key)) is not None and job.kind != kind:
            await asyncio.wait([job.task])
        if job is not None:
            require_same(job.owner, caller, key)
            if job.fingerprint != fingerprint:
                raise reused(key)
        if job is None:
            if self._closed:
                raise InterlockError(
                    Reason.UNAVAILABLE, "The executor is stopping.", fix="Try again in a moment."
                )
            job = self._jobs[key] = _Job(kind, fingerprint, caller.owner, work)
            job.task.add_done_callback(lambda task: self._ended(key, task))
        return await asyncio.shield(job.task)

    def _ended(self, key: EffectKey, task: asyncio.Task[Record]) -> None:
        del self._jobs[key]
        if not task.cancelled():
            task.exception()  # whoever waited has it; nobody may have

    def owner(self, key: EffectKey) -> str | None:
        """The owner of the work under way for a key (empty: anyone's); None when there is none."""
        job = self._jobs.get(key)
        return None if job is None else job.owner

    async def settle(self, key: EffectKey, *, cancel: bool = False) -> None:
        """Wait for the end of a key's work, if there is any; `cancel` asks it to stop first."""
        job = self._jobs.get(key)
        if job is None:
            return
        if cancel:
            job.cancel.set()
        await asyncio.wait([job.task])

    async def close(self) -> None:
        """Start nothing more; stop what runs, and wait for its end."""
        self._closed = True
        tasks = [job.task for job in self._jobs.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def reused(key: EffectKey) -> InterlockError:
    """The error for a key that names another request already."""
    return InterlockError(
        Reason.REQUEST_ID_REUSED,
        f"Step {key.step}, attempt {key.attempt} of run {key.run} was asked for with another input.",
        field="key",
        fix="Count `attempt` up for a changed step.",
    )

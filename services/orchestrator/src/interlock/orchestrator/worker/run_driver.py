"""Drives one run for as long as it wants something done and this process holds its lease."""

from __future__ import annotations

import asyncio

from interlock.common import logs
from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.domain import aside
from interlock.orchestrator.domain.actions import Action, AskModel, AskPlan, Draft, actions, name
from interlock.orchestrator.domain.decide_run import failure_of_defect
from interlock.orchestrator.domain.model import Failure, Run
from interlock.orchestrator.runs.book import RunBook
from interlock.orchestrator.runs.transaction import Transactions
from interlock.orchestrator.store.errors import LeaseLost
from interlock.orchestrator.worker.defects import LIMIT, Defects
from interlock.orchestrator.worker.done import Done
from interlock.orchestrator.worker.performer import Performer

_log = logs.get("driver")
_PAID = (AskModel, AskPlan, Draft)
_RETRY_SECONDS = 0.5
_STALE_SECONDS = 0.5
_BUSY_SECONDS = 0.05


class RunDriver:
    """A task per run. It ends when nothing is left to do, when the lease is lost, or when it is stopped.

    Args:
        behind: others may have changed the run since this process last saw it.
    """

    def __init__(
        self,
        run_id: str,
        epoch: int,
        book: RunBook,
        transactions: Transactions,
        performer: Performer,
        defects: Defects,
        *,
        behind: bool = False,
    ) -> None:
        self.run_id = run_id
        self.epoch = epoch
        self._book = book
        self._transactions = transactions
        self._performer = performer
        self._defects = defects
        self._behind = behind
        self._under_way: dict[Action, asyncio.Task[None]] = {}
        self._seen: Run | None = None
        self._wake = asyncio.Event()
        self.lost = False
        self.stale = False

    def wake(self) -> None:
        """The run may have changed."""
        self._wake.set()

    async def drive(self) -> None:
        """Runs until there is nothing to do. Cancelling it leaves everything to the next driver."""
        with logs.bound(run_id=self.run_id):
            try:
                await self._drive()
            except InterlockError as error:
                _log.warning("not driven", reason=error.reason.value, why=error.message)
                await self._leave_alone(_RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001 - the last line: a defect of one run must not end the others
                await self._defect("drive", error)
            finally:
                for task in self._under_way.values():
                    task.cancel()
                await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    async def _drive(self) -> None:
        if self._behind:
            await self._book.refresh(self.run_id)
        while not self.lost:
            self._wake.clear()
            run = await self._book.get(self.run_id)
            if run is not self._seen:
                self._seen = run
                wanted = actions(run)
                self._abandon(wanted)
                for action in wanted:
                    if action not in self._under_way:
                        self._under_way[action] = asyncio.create_task(self._do(run, action))
            if not self._under_way:
                return
            await self._wake.wait()

    def _abandon(self, wanted: tuple[Action, ...]) -> None:
        for action, task in list(self._under_way.items()):
            # A model that was asked is paid for: its answer is waited for, if only to record what it cost.
            if action not in wanted and not isinstance(action, _PAID):
                task.cancel()
                del self._under_way[action]

    def _goes_on(self, run: Run, action: Action) -> Action | None:
        """The one thing wanted next, where nothing else is under way: the task of the last goes on with it."""
        if list(self._under_way) != [action] or self._under_way[action] is not asyncio.current_task():
            return None
        wanted = actions(run)
        if len(wanted) != 1 or wanted[0] == action:
            return None
        self._under_way[wanted[0]] = self._under_way.pop(action)
        self._seen = run
        return wanted[0]

    async def _write(self, done: Done) -> Run:
        while True:
            try:
                outcome = await self._transactions.change(
                    self.run_id, done.decide, epoch=self.epoch, payloads=done.payloads
                )
                return outcome.run
            except InterlockError as error:
                if error.reason is not Reason.DATABASE_UNAVAILABLE:
                    raise
                await asyncio.sleep(_RETRY_SECONDS)

    async def _do(self, run: Run, action: Action) -> None:
        try:
            following: Action | None = action
            while following is not None:
                action = following
                run = await self._write(await self._performer.perform(run, action, self.epoch))
                following = self._goes_on(run, action)
        except LeaseLost:
            self.lost = True
        except InterlockError as error:
            if error.reason is Reason.WORKSPACE_BUSY:
                # Someone who does not wait, an undo for example, has come between: it is waited for again.
                await asyncio.sleep(_BUSY_SECONDS)
                return
            # The executor has seen a newer driver than the database knows: a database that was restored. The
            # lease is given back, and the next one has a higher epoch.
            self.stale = error.reason is Reason.EPOCH_STALE
            if self.stale:
                await self._leave_alone(_STALE_SECONDS)
            else:
                await self._defect(name(action), error)
        except Exception as error:  # noqa: BLE001 - the last line: a defect of one run must not end the others
            await self._defect(name(action), error)
        finally:
            if self._under_way.get(action) is asyncio.current_task():
                del self._under_way[action]
            self._seen = None  # what it was asked for may be wanted again
            self._wake.set()

    async def _defect(self, action: str, error: Exception) -> None:
        """Tried again after a pause that grows, and set aside when that has not helped."""
        count = self._defects.met(self.run_id, self._book.seq(self.run_id))
        _log.error("met a defect", action=action, times=count, exc_info=error)
        if count >= LIMIT and await self._set_aside(action, failure_of_defect(error), count):
            return
        await self._leave_alone(self._defects.pause(count))

    async def _set_aside(self, action: str, failure: Failure, tries: int) -> bool:
        try:
            await self._transactions.change(
                self.run_id,
                lambda run, ctx: aside.set_aside(run, ctx, action, failure, tries),
                epoch=self.epoch,
            )
        except LeaseLost:
            self.lost = True
        except Exception as error:  # noqa: BLE001 - a journal that cannot be read cannot be written to either
            _log.error("could not be set aside", error=type(error).__name__)
            return False
        return True

    async def _leave_alone(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self.lost = True

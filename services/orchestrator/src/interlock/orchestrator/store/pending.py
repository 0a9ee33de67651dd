"""An append that waits for its commit, and how each is told what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.store.errors import Conflict, LeaseLost
from interlock.orchestrator.store.link import Link, Verdicts
from interlock.orchestrator.store.records import Append, AppendResult, FeedRow, Flushed


class Pending:
    """One waiting caller. Its future is done exactly once, or cancelled by the caller.

    Those of one `group` stand one behind the other in the queue, and are written together or not at all.
    """

    __slots__ = ("answered", "append", "future", "group", "refused", "size")

    def __init__(
        self, append: Append, size: int, future: asyncio.Future[AppendResult], group: object = None
    ) -> None:
        self.append = append
        self.group = group
        self.size = size
        self.future = future
        self.refused = 0
        self.answered = False

    def succeed(self, result: AppendResult) -> None:
        self.answered = True
        if not self.future.done():
            self.future.set_result(result)

    def fail(self, error: InterlockError) -> None:
        self.answered = True
        if not self.future.done():
            self.future.set_exception(error)


async def answer(pending: Pending, n: int, verdicts: Verdicts, link: Link) -> None:
    """Tells the n-th caller of a committed batch its verdict."""
    code, seq, epoch = verdicts.codes[n], verdicts.seqs[n], verdicts.epochs[n]
    append = pending.append
    if code == 0 and verdicts.withdrawn:
        pending.fail(Conflict(append.run_id, append.expected_seq))
    elif code == 0:
        position = verdicts.starts[n] + len(append.events)
        pending.succeed(AppendResult(append.run_id, seq, position, epoch))
    elif code == 1:
        await _replay(pending, link)
    elif code == 4:
        pending.fail(LeaseLost(append.run_id, epoch))
    elif code in (3, 5):
        pending.fail(Conflict(append.run_id, seq))
    elif code == 7 and append.workspace:
        pending.fail(busy(append.workspace.id, await link.holder(append.workspace.id)))
    else:
        pending.fail(_refusal(append, code))


def settle_written(
    batch: Sequence[Pending], written: dict[int, tuple[int, int, str | None]]
) -> list[tuple[int, Pending]]:
    """Tells the callers whose appends were found in the journal after a lost connection.

    Returns them with the position before their first event, in order of position.
    """
    wins = []
    for n, (position, epoch, owner) in written.items():
        append = batch[n].append
        held = epoch if append.take is not None and owner == append.take else 0
        batch[n].succeed(AppendResult(append.run_id, append.events[-1].seq, position, held))
        wins.append((position - len(append.events), batch[n]))
    return sorted(wins, key=lambda win: win[0])


def flushed(wins: list[tuple[int, Pending]]) -> Flushed:
    """The events of the appends written, with their positions. Later ranks come later in position, not in order."""
    wins.sort(key=lambda win: win[0])
    return Flushed(
        tuple(
            FeedRow(start + k, pending.append.run_id, *event)
            for start, pending in wins
            for k, event in enumerate(pending.append.events, 1)
        )
    )


async def _replay(pending: Pending, link: Link) -> None:
    request = pending.append.request
    assert request is not None
    known = await link.recorded(request.method, request.request_id)
    if known is None or known[0] != request.fingerprint:
        pending.fail(request_reused(request.request_id))
    else:
        pending.succeed(AppendResult(pending.append.run_id, 0, 0, 0, known[1]))


def request_reused(request_id: str) -> InterlockError:
    """The id was used before, for a different request."""
    return InterlockError(
        Reason.REQUEST_ID_REUSED,
        f"The request id {request_id[:80]!r} was used for a different request.",
        field="request_id",
    )


def busy(workspace: str, holder: str) -> InterlockError:
    """Another run has the workspace, or is to have it next."""
    return InterlockError(
        Reason.WORKSPACE_BUSY,
        f"Workspace {workspace} is in the hands of {holder or 'another run'}.",
        fix=f"Let {holder} end (`interlock run wait {holder}`), or cancel it: `interlock run cancel {holder}`."
        if holder
        else "Let it end, or cancel it; `interlock run list` shows it.",
        metadata={"workspace_id": workspace, "holder_run_id": holder},
    )


def _refusal(append: Append, code: int) -> InterlockError:
    workspace = append.workspace.id if append.workspace else ""
    if code == 2:
        return InterlockError(Reason.RUN_NOT_FOUND, f"There is no run {append.run_id}.", field="run_id")
    if code == 6:
        return InterlockError(
            Reason.WORKSPACE_NOT_FOUND, f"There is no workspace {workspace}.", field="workspace_id"
        )
    return InterlockError(Reason.WORKSPACE_HEAD_MOVED, f"Workspace {workspace} has changed meanwhile.")

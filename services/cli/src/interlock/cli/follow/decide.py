"""What happens when a followed run reaches a gate."""

from __future__ import annotations

import sys
from enum import StrEnum

from interlock.cli.errors import error_lines
from interlock.cli.follow.ask import Terminal
from interlock.cli.follow.reporter import Reporter
from interlock.cli.output import use_colour
from interlock.cli.safe import escape
from interlock.cli.show.approvals import approval_lines, stage_lines
from interlock.client import Client
from interlock.common.errors import InterlockError, Reason
from interlock.v1.decision_pb2 import ApprovalRecord, ApprovalState

# Someone or something else was faster, or the preview was replaced: what follows comes through the stream.
_OVERTAKEN = frozenset(
    {
        Reason.APPROVAL_ALREADY_DECIDED,
        Reason.APPROVAL_ALREADY_VOTED,
        Reason.APPROVAL_EXPIRED,
        Reason.APPROVAL_DIGEST_MISMATCH,
        Reason.APPROVAL_NOT_FOUND,
    }
)


class Approve(StrEnum):
    """Who decides at gates."""

    ASK = "ask"
    ALL = "all"
    NONE = "none"


class Gatekeeper:
    """Decides about pending approvals, or says that nobody here can.

    Args:
        mode: ask the person, approve everything as it is shown, or never decide.
        terminal: where to ask; None when there is no terminal.
    """

    def __init__(self, client: Client, mode: Approve, terminal: Terminal | None, reporter: Reporter) -> None:
        self._client = client
        self._mode = mode
        self._terminal = terminal
        self._reporter = reporter
        self._seen: set[str] = set()

    async def handle(self, approval_id: str) -> bool:
        """Deal with an approval once. False when it stays open: the caller leaves the run waiting."""
        if approval_id in self._seen:
            return True
        approval = await self._client.get_approval(approval_id)
        if approval.state != ApprovalState.APPROVAL_STATE_PENDING:
            self._seen.add(approval_id)
            return True
        if self._mode is Approve.NONE or (self._mode is Approve.ASK and self._terminal is None):
            self._leave_open(approval)
            return False
        self._seen.add(approval_id)
        try:
            await self._decide(approval)
        except EOFError:
            self._leave_open(approval)
            return False
        return True

    async def _decide(self, approval: ApprovalRecord) -> None:
        try:
            if self._mode is Approve.ALL:
                self._show(approval)
                decided = await self._client.decide(approval, "approve", channel="cli")
                self._reporter.note(f"approved {approval.approval_id} (--approve all)")
                self._say_who_else(decided)
            else:
                await self._ask(approval)
        except InterlockError as error:
            if error.reason not in _OVERTAKEN:
                raise
            self._reporter.note("\n".join(error_lines(error)))

    async def _ask(self, approval: ApprovalRecord) -> None:
        assert self._terminal is not None
        self._reporter.pause()
        try:
            answer = await self._terminal.ask(approval)
        finally:
            self._reporter.resume()
        decided = await self._client.decide(
            approval, answer.verdict, answer.comment, edit=answer.edit, channel="cli"
        )
        self._say_who_else(decided)

    def _say_who_else(self, decided: ApprovalRecord) -> None:
        if decided.state == ApprovalState.APPROVAL_STATE_PENDING:
            self._reporter.note("\n".join(stage_lines(decided)))

    def _show(self, approval: ApprovalRecord) -> None:
        lines = approval_lines(approval, colour=use_colour(sys.stderr), full=False)
        self._reporter.note("\n".join(lines))

    def _leave_open(self, approval: ApprovalRecord) -> None:
        self._show(approval)
        name = escape(approval.approval_id)
        self._reporter.note(
            f"Waiting for approval. Decide, then let it go on:\n"
            f"  interlock approvals approve {name}     (or: interlock approvals reject {name} -m WHY)\n"
            f"  interlock run watch {escape(approval.run_id)}"
        )

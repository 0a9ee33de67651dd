"""An approval as a message of a room. Pure.

What an approver reads is what `interlock approvals show` prints, so that both say the same: every character that is not
visible is escaped there (control, bidirectional, zero-width). Here it is put into a code block, where no client reads
formatting, links or mentions, and `m.mentions` is empty: a file named `@room` wakes nobody.
"""

from __future__ import annotations

import hashlib
import html
from typing import Any

from interlock.cli.safe import escape
from interlock.cli.show.approvals import approval_lines, approval_state, approval_title, stage_lines
from interlock.cli.text import first_line
from interlock.matrix.answers import APPROVE, REJECT
from interlock.v1.decision_pb2 import ApprovalRecord, ApprovalState

MOST_LINES = 160
MOST_LINE = 400
"""Characters of a line."""
MOST_BYTES = 14_000
"""Bytes of the lines shown, as HTML. An event may have 65,536, an edit holds its content once more."""
MARK = "dev.interlock.approval"
"""The key of a message's content with the approval's id and digest, for programs."""

_WORDS = "approve, reject WHY, skip WHY, replan WHY"
_PENDING = ApprovalState.APPROVAL_STATE_PENDING
_SIGNS = {
    ApprovalState.APPROVAL_STATE_PENDING: "⏳",
    ApprovalState.APPROVAL_STATE_APPROVED: "✅",
    ApprovalState.APPROVAL_STATE_REJECTED: "❌",
    ApprovalState.APPROVAL_STATE_SUPERSEDED: "♻️",
}


def version(approval: ApprovalRecord) -> str:
    """What a message about it has to say beyond what it was posted with; equal texts need no edit."""
    return f"{approval_state(approval)}/{len(approval.votes)}{approval.superseded_by}"


def content(approval: ApprovalRecord) -> dict[str, Any]:
    """The message about an approval as it is now: everything while it is pending, its outcome afterwards."""
    head = f"{_SIGNS.get(approval.state, '⏹️')} {_what(approval)}"
    if approval.state == _PENDING:
        lines = shortened(approval_lines(approval, colour=False, full=False), approval.approval_id)
        how = f"{APPROVE} approves exactly this, {REJECT} rejects it; or reply: {_WORDS}"
        text, rich = f"{head}\n{how}\n\n" + "\n".join(lines), f"{_code(head)}<br>{_rich(how)}{_block(lines)}"
    else:
        said = outcome(approval)
        text, rich = f"{head}\n{said}", f"{_code(head)}<br>{_rich(said)}"
    return {
        "msgtype": "m.text",
        "body": without_mentions(text),
        "format": "org.matrix.custom.html",
        "formatted_body": rich,
        "m.mentions": {},
        MARK: {"approval_id": approval.approval_id, "digest": approval.digest},
    }


def edit(approval: ApprovalRecord, event_id: str) -> dict[str, Any]:
    """The message about it as it is now, in place of the one that was posted."""
    new = content(approval)
    return {
        "msgtype": "m.text",
        "body": without_mentions(f"* {_what(approval)}: {version(approval)}"),
        "m.mentions": {},
        "m.new_content": new,
        "m.relates_to": {"rel_type": "m.replace", "event_id": event_id},
    }


def reaction(event_id: str, key: str) -> dict[str, Any]:
    """A reaction to a message, so that people need one touch only."""
    return {"m.relates_to": {"rel_type": "m.annotation", "event_id": event_id, "key": key}}


def where_to_edit(approval_id: str, console: str) -> str:
    """What is said to who wants to change a step: a chat has no place for a diff that others would then see at once."""
    by_command = f"interlock approvals edit {approval_id}"
    page = f"{console}/#/pending/{approval_id}, or with: " if console else "the console, or with: "
    return f"steps are edited in {page}{by_command}"


def notice(text: str, event_id: str = "", user: str = "") -> dict[str, Any]:
    """A remark of the bot, as a reply to an event, which tells its sender and nobody else."""
    said = escape(text)
    found: dict[str, Any] = {
        "msgtype": "m.notice",
        "body": without_mentions(said),
        "format": "org.matrix.custom.html",
        "formatted_body": _rich(said),
        "m.mentions": {"user_ids": [user]} if user else {},
    }
    if event_id:
        found["m.relates_to"] = {"m.in_reply_to": {"event_id": event_id}}
    return found


def outcome(approval: ApprovalRecord) -> str:
    """What became of it, in one line of visible characters."""
    state = approval_state(approval)
    if approval.state == ApprovalState.APPROVAL_STATE_SUPERSEDED:
        named = f" by {approval.superseded_by}" if approval.superseded_by else ""
        return escape(
            f"Replaced{named}: the workspace changed under this preview. Answers to it do not count."
        )
    if not approval.HasField("decision"):
        return escape(f"{state}. Nobody's answer counts any more.")
    decision = approval.decision
    why = f": {first_line(decision.comment, 500)}" if decision.comment else ""
    return escape(f"{state} by {decision.subject} through {decision.channel}{why}")


def transaction(*parts: str) -> str:
    """A Matrix transaction id for what these parts name: equal ones are sent once."""
    return "il-" + hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:40]


def shortened(lines: list[str], approval_id: str) -> list[str]:
    """The lines within what a message holds; what is left out is said."""
    shown: list[str] = []
    left = MOST_BYTES
    for line in lines[:MOST_LINES]:
        cut = (
            line if len(line) <= MOST_LINE else f"{line[:MOST_LINE]}… {len(line) - MOST_LINE} characters more"
        )
        left -= len(html.escape(cut).encode()) + 1
        if left < 0:
            break
        shown.append(cut)
    if len(shown) < len(lines) or any(len(line) > MOST_LINE for line in lines):
        missing = len(lines) - len(shown)
        shown.append(f"… NOT EVERYTHING IS SHOWN ({missing} lines more); approving approves all of it")
        shown.append(f"… see the whole: interlock approvals show {approval_id}")
    return shown


def without_mentions(text: str) -> str:
    """`@room` with another sign, for clients that look for it in plain text."""
    return text.replace("@room", "＠room")


def _what(approval: ApprovalRecord) -> str:
    progress = [line for line in stage_lines(approval) if approval.state == _PENDING and approval.votes]
    said = f"step {approval.step} of {approval.run_id}: {escape(first_line(approval_title(approval), 200))}"
    return " — ".join([said, *progress])


def _rich(text: str) -> str:
    return html.escape(without_mentions(text))


def _code(text: str) -> str:
    return f"<strong><code>{html.escape(text)}</code></strong>"


def _block(lines: list[str]) -> str:
    return '<pre><code class="language-diff">' + html.escape("\n".join(lines)) + "\n</code></pre>"

"""Approvals as Slack messages. Everything from elsewhere is in `plain_text` or preformatted text, where Slack reads no
formatting, no links and no mentions; what is not visible is escaped, as on the command line."""

import json
from typing import Any

from interlock.cli.safe import escape
from interlock.cli.show.approvals import approval_lines, approval_state, approval_title
from interlock.v1.decision_pb2 import (
    APPROVAL_EVENT_KIND_PENDING,
    APPROVAL_EVENT_KIND_REQUESTED,
    ApprovalRecord,
)

ASKING = (APPROVAL_EVENT_KIND_PENDING, APPROVAL_EVENT_KIND_REQUESTED)
MOST_CHARACTERS = 2800


def asking(approval: ApprovalRecord) -> dict[str, Any]:
    """A message with the preview, a field for a comment, and two buttons."""
    about = {
        "approval": approval.approval_id,
        "run": approval.run_id,
        "step": approval.step,
        "digest": approval.digest,
    }
    lines = "\n".join(approval_lines(approval, colour=False, full=False))
    if len(lines) > MOST_CHARACTERS:
        rest = f"… NOT EVERYTHING IS SHOWN; approving approves all of it: `approvals show {approval.approval_id}`"
        lines = f"{lines[:MOST_CHARACTERS]}\n{rest}"
    shown = {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": lines}]}
    why = {"type": "plain_text_input", "action_id": "why"}
    return _message(
        f"Step {approval.step} of {approval.run_id} waits",
        {"type": "rich_text", "elements": [shown]},
        {"type": "input", "block_id": "why", "optional": True, "label": _plain("Comment"), "element": why},
        {"type": "actions", "elements": [_button(name, json.dumps(about)) for name in ("approve", "reject")]},
    )


def ended(approval: ApprovalRecord) -> dict[str, Any]:
    """What became of it; the buttons are gone."""
    state, decision = approval_state(approval), approval.decision
    by = f" by {decision.subject} through {decision.channel}: {decision.comment}" if decision.subject else ""
    said = escape(f"{state}{by} — {approval_title(approval)}")[:MOST_CHARACTERS]
    return _message(
        f"Step {approval.step} of {approval.run_id}: {state}", {"type": "section", "text": _plain(said)}
    )


def _message(text: str, *blocks: dict[str, Any]) -> dict[str, Any]:
    return {"text": text, "blocks": list(blocks)}


def _button(name: str, value: str) -> dict[str, Any]:
    style = {"approve": "primary", "reject": "danger"}[name]
    return {
        "type": "button",
        "action_id": name,
        "style": style,
        "text": _plain(name.capitalize()),
        "value": value,
    }


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}

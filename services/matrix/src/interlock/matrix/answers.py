"""What somebody said in a room, as an answer to one of the bot's messages. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

APPROVE, REJECT = "✅", "❌"
MOST_COMMENT = 10_000
_REACTIONS = {APPROVE: "approve", REJECT: "reject"}
_WORDS = ("approve", "reject", "skip", "replan", "edit")
_VARIATION = "\ufe0f"


@dataclass(frozen=True, slots=True)
class Answer:
    """What one event says about one message.

    event_id: the event. sender: who, as the homeserver vouches. target: the message it is about.
    verdict: `approve`, `reject`, `skip`, `replan` (reject, and have it planned anew) or `edit` (which is not done by
        chat); empty where it was probably meant as one, and is none.
    comment: exactly what the person wrote after the word, at most 10,000 characters.
    """

    event_id: str
    sender: str
    target: str
    verdict: str
    comment: str = ""


def read(event: Mapping[str, Any], own_user: str) -> Answer | None:
    """The answer in an event of a room; None where it is none: conversation, the bot's own, or of a shape unknown."""
    event_id, sender, content = event.get("event_id"), event.get("sender"), event.get("content")
    if not isinstance(event_id, str) or not isinstance(sender, str) or sender == own_user:
        return None
    relation = content.get("m.relates_to") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(relation, dict):
        return None
    if event.get("type") == "m.reaction":
        return _reaction(event_id, sender, relation)
    if event.get("type") == "m.room.message" and content.get("msgtype") == "m.text":
        return _reply(event_id, sender, relation, content.get("body"))
    return None


def _reaction(event_id: str, sender: str, relation: Mapping[str, Any]) -> Answer | None:
    key, target = relation.get("key"), relation.get("event_id")
    if relation.get("rel_type") != "m.annotation" or not isinstance(key, str) or not isinstance(target, str):
        return None
    verdict = _REACTIONS.get(key.rstrip(_VARIATION))
    return Answer(event_id, sender, target, verdict) if verdict else None


def _reply(event_id: str, sender: str, relation: Mapping[str, Any], body: object) -> Answer | None:
    target = _target(relation)
    if not target or not isinstance(body, str):
        return None
    first, *rest = re.split(r"\s+", _without_quote(body).strip(), maxsplit=1)
    verdict = first.strip(".,:;!").casefold()
    if verdict in _WORDS:
        return Answer(event_id, sender, target, verdict, clean("".join(rest)))
    close = difflib.get_close_matches(verdict, _WORDS, cutoff=0.75)
    return Answer(event_id, sender, target, "") if close else None


def _target(relation: Mapping[str, Any]) -> str:
    """The message that a reply names; in a thread without a reply, the thread's first message.

    An edited message (`m.replace`) is no reply: what was said first has been acted on.
    """
    kind = relation.get("rel_type")
    if kind not in (None, "m.thread"):
        return ""
    named = relation.get("m.in_reply_to")
    target = named.get("event_id") if isinstance(named, dict) else None
    if kind == "m.thread" and (target is None or relation.get("is_falling_back") is True):
        target = relation.get("event_id")
    return target if isinstance(target, str) else ""


def _without_quote(body: str) -> str:
    """The body without the quotation of what it replies to, which older clients put first."""
    if not body.startswith("> "):
        return body
    lines = body.split("\n")
    while lines and lines[0].startswith(">"):
        lines.pop(0)
    return "\n".join(lines)


def clean(comment: str) -> str:
    """What can be sent and stored: no lone surrogates, no NUL, cut visibly."""
    text = comment.strip().encode("utf-8", "replace").decode("utf-8").replace("\x00", "")
    return text if len(text) <= MOST_COMMENT else text[: MOST_COMMENT - 1] + "…"

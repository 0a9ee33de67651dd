"""What counts as an answer, and as which."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.matrix.answers import MOST_COMMENT, Answer, clean, read

ME = "@bot:test"


def reaction(key: Any, target: Any = "$post", **changes: Any) -> dict[str, Any]:
    relation = {"rel_type": "m.annotation", "event_id": target, "key": key}
    return event("m.reaction", {"m.relates_to": relation}, **changes)


def reply(body: Any, relation: Any = None, **changes: Any) -> dict[str, Any]:
    content = {"msgtype": "m.text", "body": body}
    content["m.relates_to"] = {"m.in_reply_to": {"event_id": "$post"}} if relation is None else relation
    return event("m.room.message", content, **changes)


def event(kind: str, content: Any, **changes: Any) -> dict[str, Any]:
    return {"type": kind, "event_id": "$it", "sender": "@ada:test", "content": content, **changes}


@pytest.mark.parametrize(
    ("key", "verdict"), [("✅", "approve"), ("✅\ufe0f", "approve"), ("❌", "reject"), ("❌\ufe0f", "reject")]
)
def test_two_reactions_decide(key: str, verdict: str) -> None:
    assert read(reaction(key), ME) == Answer("$it", "@ada:test", "$post", verdict)


@pytest.mark.parametrize("key", ["👍", "✔️", "☑️", "✅✅", "approve", "", "❎", None, 1])
def test_no_other_reaction_does(key: Any) -> None:
    assert read(reaction(key), ME) is None


@pytest.mark.parametrize(
    ("body", "verdict", "comment"),
    [
        ("approve", "approve", ""),
        ("  Approve!  ", "approve", ""),
        ("approve looks good", "approve", "looks good"),
        ("reject why not\ntomorrow", "reject", "why not\ntomorrow"),
        ("reject\nfirst line here\nsecond", "reject", "first line here\nsecond"),
        ("REJECT: no", "reject", "no"),
        ("skip it", "skip", "it"),
        ("Replan: use the helper", "replan", "use the helper"),
        ("edit", "edit", ""),
        ("replann it", "", ""),
        ("> <@bot:test> step 1\n> approve\n\nreject not this", "reject", "not this"),
        ("aprove", "", ""),
        ("rejected, sorry", "", ""),
    ],
)
def test_the_first_word_of_a_reply_decides(body: str, verdict: str, comment: str) -> None:
    assert read(reply(body), ME) == Answer("$it", "@ada:test", "$post", verdict, comment)


@pytest.mark.parametrize(
    "body", ["I would approve this", "yes", "lgtm", "", "> approve", "not approve", None, 5]
)
def test_conversation_decides_nothing(body: Any) -> None:
    assert read(reply(body), ME) is None


@pytest.mark.parametrize(
    ("relation", "target"),
    [
        ({"rel_type": "m.thread", "event_id": "$root", "is_falling_back": True,
          "m.in_reply_to": {"event_id": "$last"}}, "$root"),
        ({"rel_type": "m.thread", "event_id": "$root", "m.in_reply_to": {"event_id": "$last"}}, "$last"),
        ({"rel_type": "m.thread", "event_id": "$root"}, "$root"),
        ({"rel_type": "m.replace", "event_id": "$mine", "m.in_reply_to": {"event_id": "$post"}}, ""),
        ({"rel_type": "m.reference", "event_id": "$post"}, ""),
        ({"m.in_reply_to": {"event_id": 7}}, ""),
        ({"m.in_reply_to": "$post"}, ""),
        ({}, ""),
    ],
)  # fmt: skip
def test_which_message_a_reply_is_about(relation: dict[str, Any], target: str) -> None:
    found = read(reply("approve", relation), ME)
    assert (found.target if found else "") == target


def test_its_own_and_unsaid_things_are_no_answers() -> None:
    assert read(reaction("✅", sender=ME), ME) is None
    assert read(reply("approve", sender=ME), ME) is None
    assert read(event("m.room.message", {}), ME) is None  # removed
    assert read(reply("approve") | {"type": "m.room.encrypted"}, ME) is None
    notice = reply("approve")
    notice["content"]["msgtype"] = "m.notice"
    assert read(notice, ME) is None  # another bot's


def test_a_comment_is_what_can_be_stored() -> None:
    assert clean("a\ud800b\x00c") == "a?bc"
    assert clean("x" * MOST_COMMENT) == "x" * MOST_COMMENT
    cut = clean("x" * (MOST_COMMENT + 1))
    assert len(cut) == MOST_COMMENT
    assert cut.endswith("…")


_KEYS = st.sampled_from(
    ["rel_type", "event_id", "key", "m.in_reply_to", "m.relates_to", "body", "is_falling_back"]
)
_PLAIN = st.none() | st.booleans() | st.integers() | st.sampled_from(["m.thread", "✅", "approve", "$post"])
_JSON = _PLAIN | st.dictionaries(_KEYS, _PLAIN | st.dictionaries(_KEYS, _PLAIN, max_size=2), max_size=4)


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(["type", "event_id", "sender", "content"]), _JSON), _JSON)
def test_whatever_a_homeserver_sends_is_read_or_ignored(found: dict[str, Any], relation: Any) -> None:
    read(found, ME)
    read(reaction("✅") | found, ME)
    read(reply("approve", relation), ME)
    read(event("m.reaction", {"m.relates_to": relation}), ME)

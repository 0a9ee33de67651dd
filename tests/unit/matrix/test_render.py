"""An approval as a message: complete or visibly cut, and inert."""

from __future__ import annotations

import html
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.matrix import render
from interlock.v1.decision_pb2 import ApprovalRecord, ApprovalState, Decision, StageProgress, Vote
from interlock.v1.policy_pb2 import Gate
from interlock.v1.step_pb2 import EditFileInput, Effect, FileChange, StepInput, StepSpec

DIGEST = "sha256:" + "ab" * 32
MOST_EVENT = 65_536


def approval(diff: str = "", path: str = "a.py", **changes: Any) -> ApprovalRecord:
    spec = StepSpec(input=StepInput(edit_file=EditFileInput(path=path, new_content="new\n")))
    given = {
        "approval_id": "apr-1", "run_id": "run-1", "step": 2, "state": ApprovalState.APPROVAL_STATE_PENDING,
        "gate": Gate.GATE_EFFECT, "digest": DIGEST, "goal": "try it", "spec": spec, "title": f"edit_file: {path}",
        "preview": Effect(diff=diff, changes_total=1, changes=[FileChange(path=path)]),
    }  # fmt: skip
    return ApprovalRecord(**{**given, **changes})


def test_where_a_step_is_edited() -> None:
    assert render.where_to_edit("apr-1", "") == (
        "steps are edited in the console, or with: interlock approvals edit apr-1"
    )
    assert "in https://i.example/#/pending/apr-1, or" in render.where_to_edit("apr-1", "https://i.example")


def test_a_pending_one_shows_its_diff_and_its_digest() -> None:
    content = render.content(approval("--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-old\n+new\n"))
    for part in ("step 2 of run-1", "edit_file: a.py", DIGEST, "-old\n+new"):
        assert part in content["body"]
        assert part in content["formatted_body"]
    assert content[render.MARK] == {"approval_id": "apr-1", "digest": DIGEST}
    assert "NOT EVERYTHING" not in content["body"]


def test_a_long_one_says_what_is_missing() -> None:
    content = render.content(approval("".join(f"+{number:05d} {'x' * 390}\n" for number in range(50))))
    assert "NOT EVERYTHING IS SHOWN" in content["body"]
    assert "interlock approvals show apr-1" in content["formatted_body"]
    long_line = render.content(approval("+" + "y" * 2000 + "\n"))
    assert f"… {2001 - render.MOST_LINE} characters more" in long_line["body"]
    assert "NOT EVERYTHING IS SHOWN" in long_line["body"]


@pytest.mark.parametrize(
    "line", ["&" * 399, '"' * 399, "\\" * 399, "\u202e" * 399, "\U0001f600" * 399, "<>" * 199]
)
def test_whatever_is_shown_fits_into_an_event_and_its_edit(line: str) -> None:
    shown = approval("".join(f"+{line}\n" for _ in range(300)), votes=[Vote(subject=line)] * 9)
    size = len(json.dumps(render.edit(shown, "$event"), ensure_ascii=False).encode())
    assert size < MOST_EVENT - 2_000  # the homeserver adds its own fields
    assert "NOT EVERYTHING IS SHOWN" in render.content(shown)["body"]


EVIL = "</code></pre><h1>@room</h1>\u202e\u200b\x1b[31m<a href='https://evil.test'>@ada:test</a>&lt;"


def test_hostile_text_is_inert() -> None:
    record = approval(f"+{EVIL}\n", path=EVIL, goal=EVIL, gate_note=EVIL)
    for content in (render.content(record), render.edit(record, "$e")["m.new_content"]):
        check(content)
    closed = approval(
        path=EVIL,
        state=ApprovalState.APPROVAL_STATE_REJECTED,
        decision=Decision(subject=EVIL, comment=EVIL, channel=EVIL),
    )
    check(render.content(closed))
    notice = render.notice(EVIL, "$it", "@ada:test")
    assert notice["m.mentions"] == {"user_ids": ["@ada:test"]}
    check(notice | {"m.mentions": {}})


def check(content: dict[str, Any]) -> None:
    assert content["m.mentions"] == {}
    assert "@room" not in content["body"]
    rich = content["formatted_body"]
    for tag in ("<h1", "<a", "<img"):
        assert tag not in rich
    assert rich.count("</code>") == rich.count("<code")
    assert not {"\u202e", "\u200b", "\x1b"} & set(rich + content["body"])


@given(st.text())
def test_no_text_makes_a_tag(text: str) -> None:
    rich = render.content(approval(f"+{text}\n", path=text, title=text))["formatted_body"]
    for ours in (
        "<strong>",
        "</strong>",
        "<code>",
        "</code>",
        "<br>",
        "<pre>",
        "</pre>",
        '<code class="language-diff">',
    ):
        rich = rich.replace(ours, "")
    assert "<" not in rich
    assert ">" not in rich
    assert html.unescape(rich)


def test_what_became_of_it() -> None:
    decision = Decision(subject="bob", channel="cli", comment="not\nnow")
    rejected = approval(state=ApprovalState.APPROVAL_STATE_REJECTED, decision=decision)
    assert render.outcome(rejected).startswith("REJECTED by bob through cli: not")
    assert "\n" not in render.outcome(rejected)
    expired = approval(state=ApprovalState.APPROVAL_STATE_EXPIRED)
    assert "EXPIRED" in render.outcome(expired)
    replaced = approval(
        state=ApprovalState.APPROVAL_STATE_SUPERSEDED, superseded_by="apr-2", decision=decision
    )
    assert "by apr-2" in render.outcome(replaced)
    assert "do not count" in render.content(replaced)["body"]


def test_an_edit_is_due_when_something_else_is_to_be_said() -> None:
    asked = approval()
    voted = approval(votes=[Vote(subject="ada", stage=1)], stages=[StageProgress(quorum=2, votes=1)])
    replaced = approval(state=ApprovalState.APPROVAL_STATE_SUPERSEDED)
    named = approval(state=ApprovalState.APPROVAL_STATE_SUPERSEDED, superseded_by="apr-2")
    assert len({render.version(each) for each in (asked, voted, replaced, named)}) == 4
    assert "1 of 2 needed" in render.edit(voted, "$e")["m.new_content"]["body"]
    assert render.edit(voted, "$e")["m.relates_to"] == {"rel_type": "m.replace", "event_id": "$e"}


def test_a_transaction_names_all_its_parts() -> None:
    assert render.transaction("a", "bc") == render.transaction("a", "bc")
    assert render.transaction("a", "bc") != render.transaction("ab", "c")
    assert len(render.transaction("a")) < 128

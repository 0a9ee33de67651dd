"""A replaced preview on the terminal: what its reviewer has not seen, and that it was replaced."""

from __future__ import annotations

from interlock.cli.show.approvals import approval_lines
from interlock.v1.decision_pb2 import ApprovalRecord, ApprovalState
from interlock.v1.policy_pb2 import Gate
from interlock.v1.step_pb2 import ChangedSince, Difference, Effect, FileChange, StepInput, StepSpec

ALL = "diff --git a/seen b/seen\n--- a/seen\n+++ b/seen\n@@ -1 +1 @@\n-1\n+2\n"


def part(path: str, text: str, **more: object) -> Difference:
    return Difference(changes=[FileChange(path=path)], changes_total=1, diff=text, **more)  # type: ignore[arg-type]


def shown(gate: int = Gate.GATE_EFFECT, full: bool = False, **changed: object) -> str:
    since = ChangedSince(approval_id="apr-old", reason="WORKSPACE_DRIFTED", **changed)  # type: ignore[arg-type]
    approval = ApprovalRecord(
        approval_id="apr-new",
        state=ApprovalState.APPROVAL_STATE_PENDING,
        gate=gate,  # type: ignore[arg-type]
        spec=StepSpec(input=StepInput()),
        preview=Effect(changes_total=7, diff=ALL, changed_since=since),
    )
    return "\n".join(approval_lines(approval, colour=False, full=full))


def test_only_what_was_not_reviewed_is_shown_at_first() -> None:
    text = shown(
        paths=["a.txt"],
        workspace=part("a.txt", "-theirs\n"),
        effect=part("a.txt", "+ours\n"),
        dropped=part("gone", "-dropped\n"),
        differs=["exit_code", "stdout"],
    )
    assert "PREVIEW REPLACED: apr-old" in text
    assert "WORKSPACE_DRIFTED, a.txt" in text
    order = [text.index(part) for part in ("-theirs", "+ours", "-dropped", "exit code, standard output")]
    assert order == sorted(order)
    assert "seen" not in text, "what was approved before is not shown again"
    assert "all 7 changes: full" in text


def test_everything_is_there_when_asked_for() -> None:
    text = shown(full=True, effect=part("a.txt", "+ours\n"))
    assert text.index("+ours") < text.index("the whole, as it is now") < text.index("a/seen")


def test_what_cannot_be_compared_is_shown_whole() -> None:
    text = shown(unavailable="TREE gone")
    assert "read everything: TREE gone" in text
    assert "a/seen" in text


def test_a_command_that_has_not_run_shows_what_others_did_to_the_workspace() -> None:
    text = shown(gate=Gate.GATE_COMMAND, workspace=part("b.txt", "+b\n", diff_truncated=True))
    assert "what others changed since (1 path)" in text
    assert "this difference is cut" in text


def test_names_from_the_workspace_cannot_speak_to_the_terminal() -> None:
    text = shown(paths=["\x1b[2J"], workspace=part("\x1b[2J", "\x1b[2J\n"))
    assert "\x1b" not in text


def test_an_effect_that_does_the_same_says_so() -> None:
    assert "changed as they were in the approved preview" in shown()


def test_who_asks_in_its_place_and_what_to_know_of_the_gate() -> None:
    approval = ApprovalRecord(approval_id="apr-old", superseded_by="apr-new", gate_note="cannot be previewed")
    text = "\n".join(approval_lines(approval, colour=False, full=True))
    assert "apr-new, in place of this one" in text
    assert "cannot be previewed" in text

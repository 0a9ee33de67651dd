"""What an approver puts in a step's place, and the bounds of an envelope, from options of the command line."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from interlock.cli.editing import Change
from interlock.cli.envelopes import read_bounds
from interlock.cli.show.approvals import approval_lines, event_note
from interlock.cli.show.envelopes import envelope_line
from interlock.common.errors import InterlockError, Reason
from interlock.v1 import decision_pb2 as d
from interlock.v1 import envelope_pb2, step_pb2

COMMAND = d.ApprovalRecord(
    spec=step_pb2.StepSpec(
        input=step_pb2.StepInput(
            run_command=step_pb2.RunCommandInput(command="make", working_dir="sub", env={"A": "b"})
        )
    )
)
FILE = d.ApprovalRecord(
    spec=step_pb2.StepSpec(
        input=step_pb2.StepInput(edit_file=step_pb2.EditFileInput(path="a.txt", instruction="better"))
    )
)


def test_another_command_keeps_the_rest() -> None:
    made = Change(command_line="make all").made(COMMAND).run_command
    assert (made.command, made.working_dir, dict(made.env)) == ("make all", "sub", {"A": "b"})


def test_content_and_patch_come_from_files_or_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "new").write_text("text\n")
    made = Change(content=str(tmp_path / "new")).made(FILE).edit_file
    assert (made.path, made.WhichOneof("change"), made.new_content) == ("a.txt", "new_content", "text\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("--- a\n+++ b\n"))
    assert Change(patch="-").made(FILE).edit_file.patch == "--- a\n+++ b\n"


@pytest.mark.parametrize(
    "text",
    [
        'run_command: {argv: [make, "a b"]}\n',
        "goal: g\nsteps:\n  - run_command:\n      argv: [make, a b]\n",
        '{"goal": "g", "steps": [{"run_command": {"argv": ["make", "a b"]}}]}',
    ],
)
def test_a_whole_step_as_in_a_plan(tmp_path: Path, text: str) -> None:
    (tmp_path / "step").write_text(text)
    made = Change(step=str(tmp_path / "step")).made(COMMAND)
    assert list(made.run_command.argv.items) == ["make", "a b"]


@pytest.mark.parametrize(
    ("change", "approval"),
    [
        (Change(), COMMAND),
        (Change(command_line="x", step="y"), COMMAND),
        (Change(command_line="x"), FILE),
        (Change(content="/nowhere/at/all"), FILE),
        (Change(patch="x"), COMMAND),
    ],
)
def test_what_is_no_edit_is_refused(change: Change, approval: d.ApprovalRecord) -> None:
    with pytest.raises(InterlockError) as caught:
        change.made(approval)
    assert caught.value.reason is Reason.INVALID_ARGUMENT


def test_a_step_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "step").write_text("read_file: {path: a}\n")
    with pytest.raises(InterlockError):
        Change(step=str(tmp_path / "step")).made(COMMAND)


def test_bounds_are_read_and_shown() -> None:
    made = read_bounds(["src/**"], ["make", "git add"], steps=3, size=2048, dollars=0.25, lasts="2h")
    assert made is not None
    assert [list(each.words) for each in made.commands] == [["make"], ["git", "add"]]
    assert (made.max_steps, made.max_cost_micros, made.lasts.seconds) == (3, 250_000, 7200)
    shown = envelope_pb2.Envelope(
        envelope_id="env-1",
        bounds=made,
        state=envelope_pb2.ENVELOPE_STATE_REVOKED,
        granted_by="bob",
        on_behalf_of="ada",
        steps=[2],
        revoked_by="eve",
    )
    line = envelope_line(shown)
    assert "env-1 (revoked by eve, by bob for ada, 1 of 3 steps" in line
    assert "paths src/**; commands make, git add; at most 2" in line
    assert "$0.25" in line


@pytest.mark.parametrize(("paths", "commands"), [(None, ["make"]), (["a"], ["'"]), (["a"], [" "])])
def test_half_of_an_envelope_is_refused(paths: list[str] | None, commands: list[str]) -> None:
    with pytest.raises(InterlockError):
        read_bounds(paths, commands)


def test_without_paths_there_is_no_envelope() -> None:
    assert read_bounds(None, None) is None


def test_an_approval_shows_who_decided_how_and_what_happened_while_it_was_open() -> None:
    record = d.ApprovalRecord(
        approval_id="apr-1",
        edited_by="bob",
        reminders=2,
        escalated_to=["lea"],
        outside="Outside env-1 (paths): a is in none of b.",
        votes=[d.Vote(subject="dan", on_behalf_of="ada", authentication="token:tok-1", comment="fine")],
        decision=d.Decision(
            subject="eve",
            authentication="oidc:x",
            channel="chat",
            comment="ok",
            digest="sha256:0",
            approve=d.Approve(),
        ),
        state=d.APPROVAL_STATE_APPROVED,
    )
    record.escalated_at.FromSeconds(1)
    text = "\n".join(approval_lines(record, colour=False, full=True))
    for said in (
        "edited:  by bob",
        "reminded: 2 times",
        "goes to: lea too",
        "asks because: Outside env-1 (paths)",
        "vote:    dan for ada (token:tok-1)",
        "APPROVED by eve (oidc:x) through chat",
        "saw:     sha256:0",
    ):
        assert said in text
    reminded = d.ApprovalEvent(kind=d.APPROVAL_EVENT_KIND_REMINDED, approval=record)
    escalated = d.ApprovalEvent(kind=d.APPROVAL_EVENT_KIND_ESCALATED, approval=record)
    voted = d.ApprovalEvent(kind=d.APPROVAL_EVENT_KIND_VOTED, approval=record)
    assert "reminder 2" in event_note(reminded)
    assert "goes to lea too" in event_note(escalated)
    assert "approved by dan for ada" in event_note(voted)

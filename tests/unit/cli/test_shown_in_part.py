"""Where an approval is shown in part, it says where all of it is; shown in full, nothing is left out."""

from __future__ import annotations

import pytest

from interlock.cli.settings import Settings
from interlock.cli.show.approvals import BRIEF_LINES, approval_lines
from interlock.cli.show.workspaces import show_workspace
from interlock.v1.decision_pb2 import ApprovalRecord
from interlock.v1.policy_pb2 import Gate
from interlock.v1.step_pb2 import ChangeKind
from interlock.v1.workspace_pb2 import Workspace

HINT = "… shown in part; `interlock approvals show apr-1` shows everything"


def record(*, changes: int = 1, diff: int = 1, out: int = 1) -> ApprovalRecord:
    approval = ApprovalRecord(approval_id="apr-1", run_id="run-1", step=1, gate=Gate.GATE_EFFECT)
    approval.spec.input.run_command.command = "make"
    effect = approval.preview
    for number in range(changes):
        effect.changes.add(path=f"file-{number:03}", kind=ChangeKind.CHANGE_KIND_ADDED, new_mode=0o644)
    effect.changes_total = changes
    effect.diff = "".join(f"+line {n}\n" for n in range(diff))
    effect.stdout.head = b"".join(b"out %d\n" % n for n in range(out))
    effect.stdout.total_bytes = len(effect.stdout.head)
    return approval


@pytest.mark.parametrize(
    "more", [{"changes": BRIEF_LINES + 1}, {"diff": BRIEF_LINES + 1}, {"out": BRIEF_LINES + 1}]
)
def test_what_is_shown_in_part_says_where_all_of_it_is(more: dict[str, int]) -> None:
    assert approval_lines(record(**more), colour=False, full=False)[-1] == HINT
    assert HINT not in approval_lines(record(**more), colour=False, full=True)


def test_what_just_fits_says_nothing() -> None:
    fits = record(changes=BRIEF_LINES, diff=BRIEF_LINES, out=BRIEF_LINES)
    assert approval_lines(fits, colour=False, full=False) == approval_lines(fits, colour=False, full=True)


def test_in_full_every_path_is_listed() -> None:
    shown = "\n".join(approval_lines(record(changes=200), colour=False, full=True))
    assert "file-199" in shown
    assert "… " not in shown
    assert "… 140 more" in "\n".join(approval_lines(record(changes=200), colour=False, full=False))


def test_what_the_record_itself_leaves_out_is_counted_in_full_too() -> None:
    approval = record(changes=10)
    approval.preview.changes_total = 25
    assert "  … 15 more" in approval_lines(approval, colour=False, full=True)


def test_what_an_import_left_out_is_named_in_part(capsys: pytest.CaptureFixture[str]) -> None:
    workspace = Workspace(workspace_id="ws-1", left_out_total=230)
    for index in range(100):
        workspace.left_out.add(path=f"run/{index:03}", what="socket")
    show_workspace(Settings(), workspace)
    said = capsys.readouterr().out
    assert "230, which no tree holds: run/000 (socket), " in said
    assert "run/009 (socket) and 220 more" in said
    assert "run/010" not in said
    show_workspace(Settings(), Workspace(workspace_id="ws-1"))
    assert "left out" not in capsys.readouterr().out

"""Approvals at hand: by the event that left them so, bounded, and never one that may have changed since."""

from __future__ import annotations

from tests.support.store import approval

from interlock.orchestrator.convert.approvals import Doc
from interlock.orchestrator.runs.asked import Asked
from interlock.v1 import decision_pb2 as d

FIRST, SECOND = b"1" * 32, b"2" * 32


def test_an_approval_is_found_as_each_event_left_it() -> None:
    asked = Asked()
    asked.expect("run-1", {(FIRST, "apr-001"): approval(1)})
    asked.expect("run-1", {(SECOND, "apr-001"): approval(1, "approved")})
    assert [found.state for event in (FIRST, SECOND) if (found := asked.told(event, "apr-001"))] == [
        "pending",
        "approved",
    ]
    assert asked.told(b"3" * 32, "apr-001") is None
    assert asked.told(FIRST, "apr-002") is None


def test_what_is_only_expected_is_nobody_s_newest() -> None:
    asked = Asked()
    asked.expect("run-1", {(FIRST, "apr-001"): approval(1)})
    assert asked.newest("apr-001") is None
    asked.learn("run-1", [approval(1)])
    found = asked.newest("apr-001")
    assert found is not None
    assert (found.run_id, found.state) == ("run-1", "pending")


def test_only_what_nothing_changes_any_more_counts_as_approved() -> None:
    asked = Asked()
    for state in ("pending", "superseded", "rejected"):
        asked.learn("run-1", [approval(1, state)])
        assert asked.approved("apr-001") is None
    asked.learn("run-1", [approval(1, "approved")])
    assert asked.approved("apr-001") is not None


def test_the_oldest_go_when_there_is_no_room() -> None:
    asked = Asked(capacity=20_000)
    large = Doc({}, d.ApprovalRecord(title="x" * 5_000))
    for number in range(1, 11):
        asked.learn("run-1", [approval(number, doc=large)])
    kept = [number for number in range(1, 11) if asked.newest(f"apr-{number:03}")]
    assert kept == [8, 9, 10]
    for _ in range(10):  # one that is written again and again takes its room once
        asked.learn("run-1", [approval(10, doc=large)])
    assert [number for number in range(1, 11) if asked.newest(f"apr-{number:03}")] == [8, 9, 10]

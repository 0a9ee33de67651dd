"""Who has approved, who has to and who is still missing, on the terminal."""

from __future__ import annotations

from typing import Any

from interlock.cli.show.approvals import stage_lines
from interlock.v1.decision_pb2 import ApprovalRecord, ApprovalState, StageProgress, Vote

TEAM = StageProgress(name="team", quorum=2, votes=1, approvers=["ada", "bob", "eve", "provider:leads"])
LAST = StageProgress(quorum=1, approvers=["lea"])
ADA = Vote(subject="dan", on_behalf_of="ada", stage=1)


def lines(*stages: StageProgress, state: str = "PENDING", **more: Any) -> list[str]:
    number = ApprovalState.Value(f"APPROVAL_STATE_{state}")
    return stage_lines(ApprovalRecord(state=number, stages=stages, **more))


def test_who_is_still_missing_is_named() -> None:
    first, second, apart = lines(TEAM, LAST, votes=[ADA], excluded=["eve"])
    assert first == (
        "stage 1 (team): 1 of 2 needed of ada, bob, eve, provider:leads; approved: dan for ada;"
        " still missing: 1 of bob, provider:leads"
    )
    assert second == "stage 2: 0 of 1 needed of lea; its turn comes after stage 1"
    assert apart == "may not approve, having asked: eve"


def test_where_everybody_may_nobody_is_named() -> None:
    assert lines(StageProgress(quorum=2)) == ["stage 1: 0 of 2 needed; still missing: 2"]


def test_a_stage_that_is_done_misses_nobody() -> None:
    done = StageProgress(quorum=1, votes=1, approvers=["ada"])
    first, second = lines(done, LAST, votes=[Vote(subject="ada", stage=1)])
    assert first == "stage 1: 1 of 1 needed of ada; approved: ada"
    assert second == "stage 2: 0 of 1 needed of lea; still missing: 1 of lea"


def test_nothing_is_missing_once_it_is_decided() -> None:
    assert lines(TEAM, state="REJECTED", votes=[ADA], excluded=["eve"]) == [
        "stage 1 (team): 1 of 2 needed of ada, bob, eve, provider:leads; approved: dan for ada"
    ]


def test_names_are_shown_inert() -> None:
    (line,) = lines(StageProgress(quorum=1, approvers=["\x1b[31mada"]))
    assert "\x1b" not in line

"""Which executor has a workspace, by what each of them answers; and how they are named."""

from __future__ import annotations

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.clients.executors import Answer, place
from interlock.orchestrator.config import executor_addresses
from interlock.v1 import workspace_pb2

HERE = workspace_pb2.Workspace(workspace_id="ws-1")
NOT_HERE = InterlockError(Reason.WORKSPACE_NOT_FOUND, "no such workspace")
AWAY = InterlockError(Reason.UNAVAILABLE, "away")
SLOW = InterlockError(Reason.DEADLINE_EXCEEDED, "slow")
ODD = InterlockError(Reason.PERMISSION_DENIED, "not you")


@pytest.mark.parametrize("others", [(NOT_HERE, NOT_HERE), (AWAY, NOT_HERE), (SLOW, AWAY), (ODD, ODD)])
@pytest.mark.parametrize("turn", range(3))
def test_who_has_it_is_found_whatever_the_others_answer(others: tuple[Answer, Answer], turn: int) -> None:
    answers = [*zip("bc", others, strict=True)]
    answers.insert(turn, ("a", HERE))
    assert place("ws-1", answers) == "a"


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ((NOT_HERE, NOT_HERE), Reason.WORKSPACE_NOT_FOUND),
        ((NOT_HERE, AWAY), Reason.UNAVAILABLE),
        ((SLOW, NOT_HERE), Reason.UNAVAILABLE),
        ((ODD, AWAY), Reason.UNAVAILABLE),
        ((NOT_HERE, ODD), Reason.PERMISSION_DENIED),
        ((HERE, HERE), Reason.WORKSPACE_EXISTS),
    ],
)
def test_nothing_is_guessed(answers: tuple[Answer, Answer], reason: Reason) -> None:
    with pytest.raises(InterlockError) as raised:
        place("ws-1", list(zip(("one:1", "two:2"), answers, strict=True)))
    assert raised.value.reason is reason


def test_who_does_not_answer_is_named_and_who_answers_is_not() -> None:
    with pytest.raises(InterlockError, match="one:1 does not answer") as raised:
        place("ws-1", [("one:1", AWAY), ("two:2", NOT_HERE)])
    assert "two:2" not in str(raised.value)


def test_executors_are_named_in_one_setting_or_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_EXECUTOR_ADDRESS", "alone:1")
    monkeypatch.delenv("INTERLOCK_EXECUTOR_ADDRESSES", raising=False)
    assert [str(each) for each in executor_addresses()] == ["alone:1"]
    monkeypatch.setenv("INTERLOCK_EXECUTOR_ADDRESSES", " a:1, unix:/run/b ,[::1]:3,")
    assert [str(each) for each in executor_addresses()] == ["a:1", "unix:/run/b", "[::1]:3"]


@pytest.mark.parametrize("text", ["a:1,a:1", "a:1,b", ",".join(f"a:{port}" for port in range(1, 66))])
def test_a_wrong_list_names_its_variable(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_EXECUTOR_ADDRESSES", text)
    with pytest.raises(InterlockError) as raised:
        executor_addresses()
    assert raised.value.field == "INTERLOCK_EXECUTOR_ADDRESSES"

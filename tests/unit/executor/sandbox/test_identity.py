"""Steps never run as root."""

from __future__ import annotations

import os

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.executor.sandbox import identity
from interlock.executor.sandbox.identity import DEFAULT_STEP_UID, Identity, check_identity, step_identity


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(identity, "has_capability", lambda _: True)


@pytest.mark.usefixtures("as_root")
def test_root_switches_to_a_uid_of_its_own() -> None:
    assert step_identity({}) == Identity(DEFAULT_STEP_UID, DEFAULT_STEP_UID, switch=True)
    assert step_identity({"INTERLOCK_STEP_UID": "777"}) == Identity(777, 777, switch=True)


@pytest.mark.usefixtures("as_root")
def test_root_does_not_run_steps_as_root() -> None:
    with pytest.raises(InterlockError) as caught:
        step_identity({"INTERLOCK_STEP_UID": "0"})
    assert (caught.value.reason, caught.value.field) == (Reason.SANDBOX_UNAVAILABLE, "INTERLOCK_STEP_UID")


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("missing", [6, 7])
def test_root_that_cannot_switch_is_refused(monkeypatch: pytest.MonkeyPatch, missing: int) -> None:
    monkeypatch.setattr(identity, "has_capability", lambda number: number != missing)
    with pytest.raises(InterlockError) as caught:
        step_identity({})
    assert caught.value.reason is Reason.SANDBOX_UNAVAILABLE
    assert "CAP_SETUID" in caught.value.message


def test_an_ordinary_user_is_whom_steps_run_as(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    monkeypatch.setattr(os, "getegid", lambda: 56)
    assert step_identity({"INTERLOCK_STEP_UID": "0"}) == Identity(1234, 56, switch=False)


@pytest.mark.parametrize("bad", [(0, 5), (5, 0), (0, 0)])
def test_neither_uid_nor_gid_is_root(bad: tuple[int, int]) -> None:
    with pytest.raises(InterlockError):
        check_identity(Identity(*bad, switch=False))

from __future__ import annotations

import pytest

from interlock.common.digests import sha256_text
from interlock.common.errors import InterlockError, Reason
from interlock.executor.convert.requests import caller_of
from interlock.executor.domain.caller import BY_HAND, Caller, driven, require_owner, require_same
from interlock.executor.domain.model import EffectKey, EffectState
from interlock.executor.effects.store import Record
from interlock.v1 import executor_pb2 as pb

KEY = EffectKey("run-1", 2, 3)
SECRET, OTHER = b"s" * 32, b"t" * 32
MINE = Caller(owner=sha256_text(SECRET))


@pytest.mark.parametrize("recorded", ["", sha256_text(SECRET)])
def test_an_owner_may_do_what_is_its_own_or_anyones(recorded: str) -> None:
    require_owner(recorded, MINE, KEY)


@pytest.mark.parametrize(
    "caller", [BY_HAND, Caller(owner=sha256_text(OTHER)), Caller(driver=sha256_text(SECRET))]
)
def test_anyone_else_may_not(caller: Caller) -> None:
    with pytest.raises(InterlockError) as caught:
        require_owner(MINE.owner, caller, KEY)
    assert caught.value.reason is Reason.EFFECT_NOT_OWNED
    assert caught.value.field == "owner_key"
    assert "run-1" in caught.value.message


@pytest.mark.parametrize(
    ("recorded", "caller"),
    [("", MINE), (MINE.owner, BY_HAND), (MINE.owner, Caller(owner=sha256_text(OTHER)))],
)
def test_a_prepare_joins_only_its_own(recorded: str, caller: Caller) -> None:
    with pytest.raises(InterlockError) as caught:
        require_same(recorded, caller, KEY)
    assert caught.value.reason is Reason.EFFECT_NOT_OWNED
    assert "attempt" in caught.value.fix


def test_a_prepare_joins_its_own_and_by_hand_what_is_nobodys() -> None:
    require_same(MINE.owner, MINE, KEY)
    require_same("", BY_HAND, KEY)


def test_what_is_refused_tells_no_secret() -> None:
    errors = [driven("run-1")]
    for check in (require_owner, require_same):
        with pytest.raises(InterlockError) as caught:
            check(MINE.owner, Caller(owner=sha256_text(OTHER)), KEY)
        errors.append(caught.value)
    for error in errors:
        told = f"{error!r} {error} {error.fix} {error.metadata}"
        assert sha256_text(SECRET)[7:] not in told
        assert sha256_text(OTHER)[7:] not in told


def test_secrets_and_digests_are_in_no_repr() -> None:
    caller = Caller(7, driver=sha256_text(SECRET), owner=sha256_text(OTHER))
    record = Record(KEY, "ws-1", "f", EffectState.PREPARED, owner=sha256_text(SECRET))
    for shown in (repr(caller), repr(record)):
        assert "sha256" not in shown
    assert "7" in repr(caller)


def test_of_a_call_only_digests_go_on() -> None:
    digest = sha256_text(SECRET)
    prepare = pb.PrepareRequest(owner_key_digest=digest, driver_key=OTHER, epoch=4)
    assert caller_of(prepare) == Caller(4, sha256_text(OTHER), digest)
    assert caller_of(pb.ApplyRequest(owner_key=SECRET)) == Caller(0, "", digest)
    assert caller_of(pb.DiscardRequest(owner_key=SECRET, driver_key=OTHER)).owner == digest
    assert caller_of(pb.ProposeRequest(driver_key=OTHER)) == Caller(0, sha256_text(OTHER), "")
    assert caller_of(pb.RestoreTreeRequest(epoch=2)) == Caller(2)
    assert caller_of(pb.ApplyRequest()) == BY_HAND

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.executor.domain.model import EffectKey, EffectState
from interlock.executor.effects.retention import Rule
from interlock.executor.effects.store import EffectStore, Record

KEY = EffectKey("run-1", 1, 2)
FULL = Record(
    KEY, "ws-1", "print", EffectState.PREPARED, True, "base", "result", b"{}", b"[]", "asked", "effect", b"\x00payload",
    "apr-1", "head", True, "2026-01-01T00:00:00.000000Z", "2026-01-02T00:00:00.000000Z",
)  # fmt: skip


def test_a_record_survives_as_it_is(tmp_path: Path) -> None:
    store = EffectStore(tmp_path / "effects.db")
    assert store.get(KEY) is None
    store.put(FULL)
    store.close()
    store = EffectStore(tmp_path / "effects.db")
    assert store.get(KEY) == FULL
    assert store.in_state(EffectState.PREPARED) == [FULL]
    store.put(dataclasses.replace(FULL, state=EffectState.APPLIED))
    assert store.in_state(EffectState.PREPARED) == []
    store.forget(KEY)
    assert store.get(KEY) is None
    store.close()


def test_old_finished_effects_are_forgotten_and_others_stay(tmp_path: Path) -> None:
    store = EffectStore(tmp_path / "effects.db")
    for step, state in enumerate(EffectState, 1):
        store.put(dataclasses.replace(FULL, key=EffectKey("run-1", step, 1), state=state))
    store.put(dataclasses.replace(FULL, key=EffectKey("run-2", 1, 1), state=EffectState.APPLIED, at="2027"))
    rule = Rule(own="2026-06")
    assert store.prune(rule, dry_run=True) == 3
    assert store.prune(rule) == 3
    assert store.prune(rule) == 0
    left = {
        record.state for state in EffectState for record in store.in_state(state) if record.key.run == "run-1"
    }
    assert left == {EffectState.PREPARING, EffectState.PREPARED, EffectState.APPLYING}
    assert store.get(EffectKey("run-2", 1, 1)) is not None
    store.close()


def test_who_speaks_for_a_workspace_says_what_is_kept_of_it(tmp_path: Path) -> None:
    store = EffectStore(tmp_path / "effects.db")
    workspaces = ("ws-named", "ws-others", "ws-nobody")
    for step, workspace in enumerate(workspaces, 1):
        for run in ("run-kept", "run-old"):
            key, state = EffectKey(run, step, 1), EffectState.APPLIED
            store.put(dataclasses.replace(FULL, key=key, workspace=workspace, state=state))
    rule = Rule(
        "2026-06", "2026-03", frozenset({"ws-named"}), frozenset({"ws-others"}), frozenset({"run-kept"})
    )
    assert store.prune(rule) == 2
    left = [
        key
        for run in ("run-kept", "run-old")
        for step in (1, 2, 3)
        if store.get(key := EffectKey(run, step, 1))
    ]
    assert [str(key) for key in left] == ["run-kept/1/1", "run-kept/2/1", "run-kept/3/1", "run-old/2/1"]
    store.close()


def test_epochs_and_answers_go_with_the_last_record_of_their_run(tmp_path: Path) -> None:
    store = EffectStore(tmp_path / "effects.db")
    for run in ("run-1", "run-kept", "run-gone"):
        store.fence(run, 4, "2026-01")
        store.fence(run, 5, "2026-01", "driver")
    store.put(dataclasses.replace(FULL, state=EffectState.PREPARED))
    store.begin_request("Do", "old", "same", "", "2026-01")
    store.begin_request("Do", "young", "same", "", "2026-12")
    store.prune(Rule("2026-06", "2026-03", runs=frozenset({"run-kept"})))
    assert store.runs() == {"run-1", "run-kept"}
    store.begin_request("Do", "old", "another", "", "2026-12")
    with pytest.raises(InterlockError) as caught:
        store.begin_request("Do", "young", "another", "", "2026-12")
    assert caught.value.reason is Reason.REQUEST_ID_REUSED
    store.close()


def test_what_undecided_effects_refer_to(tmp_path: Path) -> None:
    store = EffectStore(tmp_path / "effects.db")
    for step, state in enumerate(EffectState, 1):
        trees = {"base_tree": f"base {state}", "result_tree": f"result {state}"}
        store.put(dataclasses.replace(FULL, key=EffectKey("run-1", step, 1), state=state, **trees))
    open_ = {state.value for state in (EffectState.PREPARING, EffectState.PREPARED, EffectState.APPLYING)}
    assert set(store.undecided()) == {
        ("ws-1", f"{what} {state}") for what in ("base", "result") for state in open_
    }
    assert store.previews() == {"ws-1": 1}
    store.put_source("ws-1", b"one")
    store.put_source("ws-2", b"two")
    store.forget_sources(["ws-2"])
    assert (store.source("ws-1"), store.source("ws-2")) == (b"", b"two")
    store.close()


def test_a_prepared_effect_that_changes_nothing_pins_nothing_and_goes_with_its_run(tmp_path: Path) -> None:
    store = EffectStore(tmp_path / "effects.db")
    still = dataclasses.replace(FULL, result_tree=FULL.base_tree)
    young = "2026-09-01T00:00:00.000000Z"
    kept = [
        dataclasses.replace(still, key=EffectKey("run-live", 1, 1)),
        dataclasses.replace(still, key=EffectKey("run-by-hand", 1, 1), workspace="ws-by-hand"),
        dataclasses.replace(still, key=EffectKey("run-young", 1, 1), at=young),
        dataclasses.replace(FULL, key=EffectKey("run-over", 1, 1)),
        dataclasses.replace(still, key=EffectKey("run-over", 2, 1), state=EffectState.PREPARING),
    ]
    gone = dataclasses.replace(still, key=EffectKey("run-over", 3, 1))
    for record in (*kept, gone):
        store.put(record)
    assert store.previews() == {"ws-1": 1}, "only what would change something"
    assert sorted(store.undecided()) == [("ws-1", "base"), ("ws-1", "base"), ("ws-1", "result")]
    rule = Rule("2026-06", "2026-06", named=frozenset({"ws-1"}), runs=frozenset({"run-live"}))
    assert store.prune(rule, dry_run=True) == 1
    assert store.prune(rule) == 1
    assert store.get(gone.key) is None
    assert [store.get(record.key) for record in kept] == kept
    assert store.prune(rule) == 0
    store.close()


def test_epochs_only_rise(tmp_path: Path) -> None:
    store = EffectStore(tmp_path / "effects.db")
    for epoch in (0, 0, 3, 3, 7):
        store.fence("run-1", epoch, "now")
    store.fence("run-2", 0, "now")
    store.close()
    store = EffectStore(tmp_path / "effects.db")
    for epoch in (0, 6):
        with pytest.raises(InterlockError) as caught:
            store.fence("run-1", epoch, "now")
        assert caught.value.reason is Reason.EPOCH_STALE
        assert "7" not in caught.value.message, "who is refused does not learn the epoch"
    store.fence("run-1", 7, "now")
    store.close()


def test_requests_are_answered_once(tmp_path: Path) -> None:
    store = EffectStore(tmp_path / "effects.db")
    assert store.begin_request("M", "id", "f", "ws-1", "now").subject == "ws-1"
    again = store.begin_request("M", "id", "f", "ws-2", "now")
    assert (again.subject, again.answer) == ("ws-1", b"")
    store.answer_request("M", "id", b"done")
    store.drop_request("M", "id")
    assert store.begin_request("M", "id", "f", "ws-3", "now").answer == b"done"
    with pytest.raises(InterlockError) as caught:
        store.begin_request("M", "id", "other", "ws-4", "now")
    assert caught.value.reason is Reason.REQUEST_ID_REUSED
    store.begin_request("M", "failed", "f", "ws-5", "now")
    store.drop_request("M", "failed")
    assert store.begin_request("M", "failed", "other", "ws-6", "now").subject == "ws-6"
    store.close()

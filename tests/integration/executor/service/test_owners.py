"""An effect prepared with the digest of a secret is its owner's alone; by hand, everything stays as it was."""

from __future__ import annotations

import asyncio
import base64
import sqlite3
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from tests.support.files_below import files_below

from interlock.common.digests import sha256_text
from interlock.common.errors import InterlockError, Reason
from interlock.common.status import from_status
from interlock.v1 import executor_pb2 as pb

OWNER, DRIVER = b"owner-of-the-step-" + b"o" * 14, b"driver-of-the-run-" + b"d" * 14
STRANGER = b"a secret of a stranger's own"
MINE: dict[str, Any] = {"owner_key_digest": sha256_text(OWNER), "driver_key": DRIVER, "epoch": 3}
SHOWN: dict[str, Any] = {"owner_key": OWNER, "driver_key": DRIVER, "epoch": 3}
ATTACKS: list[dict[str, Any]] = [
    {},
    {"epoch": 3},
    {"epoch": 2**62},
    {"owner_key": STRANGER},
    {"owner_key": STRANGER, "driver_key": STRANGER, "epoch": 2**62},
    {"owner_key": DRIVER, "driver_key": STRANGER},
    {"owner_key": sha256_text(OWNER).encode()[:64], "driver_key": STRANGER},
    {"owner_key": STRANGER, "driver_key": DRIVER, "epoch": 3},
    {"driver_key": DRIVER, "epoch": 3},
]


async def refused(call: Any, reason: Reason = Reason.EFFECT_NOT_OWNED) -> InterlockError:
    with pytest.raises(InterlockError) as caught:
        await call
    assert caught.value.reason is reason, caught.value.message
    return caught.value


def told(error: InterlockError) -> str:
    return f"{error!r} {error.message} {error.fix} {error.field} {error.metadata}"


@pytest.mark.parametrize("shown", ATTACKS)
async def test_only_the_owner_applies(executor: Any, act: Any, shown: dict[str, Any]) -> None:
    ws = await executor.workspace()
    prepared = await executor.prepare(ws, act.command("echo x > f"), **MINE)
    error = await refused(executor.apply(prepared, **shown))
    assert sha256_text(OWNER) not in told(error)
    assert not (executor.live / "f").exists()
    assert await executor.head(ws) == prepared.effect.base_tree
    await executor.apply(prepared, **SHOWN)
    assert (executor.live / "f").read_text() == "x\n"
    await refused(executor.apply(prepared, **shown))
    assert (await executor.apply(prepared, **SHOWN)).head_tree == prepared.effect.result_tree


@pytest.mark.parametrize("shown", ATTACKS)
async def test_only_the_owner_discards(executor: Any, act: Any, shown: dict[str, Any]) -> None:
    ws = await executor.workspace()
    prepared = await executor.prepare(ws, act.edit("new.txt", new_content="x\n"), **MINE)
    await refused(executor.discard(**shown))
    found = await executor.call("GetEffect", pb.GetEffectRequest(key=executor.key()))
    assert found.state == pb.EFFECT_STATE_PREPARED
    assert (await executor.discard(**SHOWN)).state == pb.EFFECT_STATE_DISCARDED
    await refused(executor.apply(prepared, **SHOWN), Reason.EFFECT_DISCARDED)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, MINE),
        ({"owner_key_digest": sha256_text(STRANGER)}, MINE),
        ({"owner_key_digest": sha256_text(STRANGER), "driver_key": STRANGER, "epoch": 2**62}, MINE),
        (MINE, {}),
        (MINE, {"driver_key": STRANGER}),
        (MINE, {"owner_key_digest": sha256_text(STRANGER), "driver_key": STRANGER}),
    ],
)
@pytest.mark.parametrize("same", [True, False])
async def test_a_prepare_never_gets_what_another_had_recorded(
    executor: Any, act: Any, first: dict[str, Any], second: dict[str, Any], same: bool
) -> None:
    ws = await executor.workspace()
    planted = await executor.prepare(ws, act.command("echo planted > f"), **first)
    action = act.command("echo planted > f" if same else "echo mine > f")
    error = await refused(executor.prepare(ws, action, **second))
    assert "attempt" in error.fix or "run id" in error.fix
    found = await executor.call("GetEffect", pb.GetEffectRequest(key=executor.key()))
    assert found.effect == planted.effect
    if second is MINE:  # its owner goes on with the next attempt, and has what it asked for
        mine = await executor.prepare(ws, act.command("echo mine > f"), attempt=2, **MINE)
        await executor.apply(mine, attempt=2, **SHOWN)
        assert (executor.live / "f").read_text() == "mine\n"


async def test_a_repeated_prepare_of_the_owner_gets_the_first_answer(executor: Any, act: Any) -> None:
    ws = await executor.workspace()
    first = await executor.prepare(ws, act.command("date +%N > f"), **MINE)
    assert await executor.prepare(ws, act.command("date +%N > f"), **MINE) == first


@pytest.mark.parametrize("planted", [{}, {"owner_key": STRANGER, "driver_key": STRANGER}])
async def test_an_attempt_that_a_stranger_threw_away_beforehand_is_not_the_owners(
    executor: Any, act: Any, planted: dict[str, Any]
) -> None:
    ws = await executor.workspace()
    await executor.discard(**planted)
    await refused(executor.prepare(ws, act.read("a.txt"), **MINE))
    assert (
        await executor.prepare(ws, act.read("a.txt"), attempt=2, **MINE)
    ).state == pb.EFFECT_STATE_PREPARED


async def test_an_attempt_that_its_owner_threw_away_beforehand_is_computed_for_nobody(
    executor: Any, act: Any
) -> None:
    ws = await executor.workspace()
    await executor.discard(**SHOWN)
    answer = await executor.prepare(ws, act.command("touch f"), **MINE)
    assert (answer.state, answer.HasField("effect")) == (pb.EFFECT_STATE_DISCARDED, False)
    await refused(executor.prepare(ws, act.command("touch f"), driver_key=STRANGER))


@pytest.mark.parametrize("first", [MINE, {"owner_key_digest": sha256_text(STRANGER), "driver_key": STRANGER}])
async def test_a_step_under_way_is_joined_and_stopped_by_its_owner_only(
    executor: Any, act: Any, first: dict[str, Any]
) -> None:
    ws = await executor.workspace()
    line = act.command("echo begun; sleep 60")
    running = asyncio.create_task(executor.prepare(ws, line, **first))
    await begun(executor)
    if first is MINE:
        others: list[Callable[[], Any]] = [
            lambda: executor.prepare(ws, line, driver_key=STRANGER),
            lambda: executor.discard(driver_key=STRANGER),
            executor.discard,
        ]
        owner = SHOWN
    else:
        others = [lambda: executor.prepare(ws, line, **MINE), lambda: executor.discard(**SHOWN)]
        owner = {"owner_key": STRANGER, "driver_key": STRANGER}
    for other in others:
        await refused(other())
    assert not running.done()
    await executor.discard(**owner)
    await refused(running, Reason.EFFECT_DISCARDED)


async def begun(executor: Any) -> None:
    """Until the step has written something."""
    request = pb.StreamOutputRequest(key=executor.key())
    async with asyncio.timeout(30):
        while True:
            try:
                async for piece in executor.stub.StreamOutput(request):
                    if piece.chunk.data:
                        return
            except Exception:  # noqa: BLE001 (not begun yet)
                await asyncio.sleep(0.02)


async def test_nobody_else_can_put_a_driver_off(executor: Any, act: Any) -> None:
    """A higher epoch counts only among those who know the driver's secret."""
    ws = await executor.workspace()
    await executor.prepare(ws, act.read("a.txt"), epoch=2**62)
    await executor.prepare(ws, act.read("a.txt"), step=2, epoch=2**62, driver_key=STRANGER)
    await executor.prepare(ws, act.read("a.txt"), step=3, **MINE)
    await executor.discard(step=9, epoch=2**62, driver_key=STRANGER)
    ask = {"request_id": f"r-{executor.run}", "workspace_id": ws, "tree": await executor.head(ws)}
    await executor.call(
        "RestoreTree",
        pb.RestoreTreeRequest(**ask, run_id=executor.run, epoch=2**62, driver_key=STRANGER),
    )
    await executor.prepare(ws, act.read("a.txt"), step=4, **MINE)
    await refused(executor.prepare(ws, act.read("a.txt"), step=5, **{**MINE, "epoch": 2}), Reason.EPOCH_STALE)


async def test_a_driven_run_refuses_who_shows_no_secret(executor: Any, act: Any) -> None:
    ws = await executor.workspace()
    await executor.prepare(ws, act.read("a.txt"), **MINE)
    proposed = pb.ProposeRequest(key=executor.key(2), workspace_id=ws, action=act.read("a.txt"), epoch=3)
    ask = {"request_id": f"r-{executor.run}", "workspace_id": ws, "tree": await executor.head(ws)}
    for call in (
        executor.call("Propose", proposed),
        executor.prepare(ws, act.read("a.txt"), step=2),
        executor.discard(step=2, epoch=3),
        executor.call("RestoreTree", pb.RestoreTreeRequest(**ask, run_id=executor.run, epoch=3)),
    ):
        error = await refused(call)
        assert error.field == "driver_key"
    by_hand = pb.RestoreTreeRequest(**ask)
    await executor.call("RestoreTree", by_hand)


async def test_a_tree_that_waits_to_be_approved_cannot_be_restored(executor: Any, act: Any) -> None:
    ws = await executor.workspace()
    prepared = await executor.prepare(ws, act.command("echo x > f"), **MINE)
    tree = prepared.effect.result_tree
    ask = {"workspace_id": ws, "tree": tree}
    for more in (
        {},
        {"run_id": executor.run, "driver_key": STRANGER},
        {"expected_head": await executor.head(ws)},
    ):
        request = pb.RestoreTreeRequest(request_id=f"r-{executor.run}", **ask, **more)
        error = await refused(executor.call("RestoreTree", request), Reason.TREE_NOT_FOUND)
        assert error.field == "tree"
    assert not (executor.live / "f").exists()
    await executor.apply(prepared, **SHOWN)
    back = {"request_id": f"b-{executor.run}", "workspace_id": ws, "tree": prepared.effect.base_tree}
    await executor.call("RestoreTree", pb.RestoreTreeRequest(**back))
    assert not (executor.live / "f").exists()
    await executor.call("RestoreTree", pb.RestoreTreeRequest(request_id=f"r-{executor.run}", **ask))
    assert (executor.live / "f").exists()


async def test_a_drivers_restore_is_not_answered_with_a_strangers(executor: Any, act: Any) -> None:
    """Who guesses the id of a rollback cannot have it answered before it has happened."""
    ws = await executor.workspace()
    first = await executor.head(ws)
    ask = {"request_id": f"op-{executor.run}", "workspace_id": ws, "tree": first}
    await executor.call("RestoreTree", pb.RestoreTreeRequest(**ask))
    await executor.call("RestoreTree", pb.RestoreTreeRequest(**ask, run_id=executor.run, driver_key=STRANGER))
    prepared = await executor.prepare(ws, act.command("echo x > f"), **MINE)
    await executor.apply(prepared, **SHOWN)
    mine = pb.RestoreTreeRequest(**ask, run_id=executor.run, driver_key=DRIVER, epoch=3)
    answer = await executor.call("RestoreTree", mine)
    assert (answer.head_tree, answer.previous_tree) == (first, prepared.effect.result_tree)
    assert not (executor.live / "f").exists()
    assert await executor.call("RestoreTree", mine) == answer


async def test_effects_of_an_earlier_release_can_still_be_applied(lone: Any, act: Any) -> None:
    ws = await lone.workspace()
    prepared = await lone.prepare(ws, act.command("echo x > f"), epoch=3)
    await lone.apply(prepared, **SHOWN)
    assert (lone.live / "f").read_text() == "x\n"


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("Apply", {"effect_digest": "sha256:" + "0" * 64, "approved_digest": "sha256:" + "0" * 64}),
        ("Discard", {}),
    ],
)
@pytest.mark.parametrize("field", ["owner_key", "driver_key"])
@pytest.mark.parametrize("secret", [b"x" * 15, b"x" * 65, b"x" * 100_000])
async def test_secrets_are_bounded(
    executor: Any, method: str, request_: dict[str, Any], field: str, secret: bytes
) -> None:
    message = getattr(pb, f"{method}Request")(key=executor.key(), **request_, **{field: secret})
    error = await refused(executor.call(method, message), Reason.VALIDATION_FAILED)
    assert "xxxx" not in told(error)


async def test_a_digest_that_is_none_is_refused(executor: Any, act: Any) -> None:
    ws = await executor.workspace()
    for digest in ("secret", "sha256:" + "0" * 63, sha256_text(OWNER).upper()):
        error = await refused(
            executor.prepare(ws, act.read("a.txt"), owner_key_digest=digest), Reason.VALIDATION_FAILED
        )
        assert digest not in told(error)


async def test_on_a_session_it_is_the_same(executor: Any, act: Any) -> None:
    ws = await executor.workspace()
    key, line = executor.key(), act.command("echo x > f")
    prepare = pb.PrepareRequest(key=key, workspace_id=ws, action=line, **MINE)
    (first,) = await session(executor, prepare=prepare)
    digest = first.prepare.effect.effect_digest
    apply: dict[str, Any] = {"key": key, "effect_digest": digest, "approved_digest": digest}
    for call in (
        {"apply": pb.ApplyRequest(**apply, epoch=3)},
        {"apply": pb.ApplyRequest(**apply, owner_key=STRANGER, driver_key=DRIVER, epoch=3)},
        {"discard": pb.DiscardRequest(key=key, driver_key=DRIVER, epoch=3)},
        {"prepare": pb.PrepareRequest(key=key, workspace_id=ws, action=line, driver_key=STRANGER)},
    ):
        (answer,) = await session(executor, **call)
        error = from_status(answer.error)
        assert error is not None
        assert error.reason is Reason.EFFECT_NOT_OWNED
    (done,) = await session(executor, apply=pb.ApplyRequest(**apply, **SHOWN))
    assert done.apply.head_tree == first.prepare.effect.result_tree


async def session(executor: Any, **call: Any) -> list[pb.SessionResult]:
    async def frames() -> AsyncIterator[pb.SessionRequest]:
        yield pb.SessionRequest(items=[pb.SessionItem(id=1, **call)])

    return [result async for frame in executor.stub.Session(frames()) for result in frame.results]


async def test_secrets_are_kept_and_told_nowhere(lone: Any, act: Any) -> None:
    ws = await lone.workspace()
    prepared = await lone.prepare(ws, act.command("echo x > f"), **MINE)
    await refused(lone.apply(prepared, owner_key=STRANGER, driver_key=DRIVER, epoch=3))
    found = await lone.call("GetEffect", pb.GetEffectRequest(key=lone.key()))
    await lone.apply(prepared, **SHOWN)
    said = found.SerializeToString() + prepared.SerializeToString() + lone.child.log.encode()
    for secret in (OWNER, DRIVER, STRANGER):
        for form in (secret, secret.hex().encode(), base64.b64encode(secret)):
            assert form not in said
            for file, content in files_below(lone.state):
                assert form not in content, file
        assert sha256_text(secret)[7:].encode() not in said
    with sqlite3.connect(lone.state / "effects.db", timeout=10) as db:
        assert db.execute("SELECT owner FROM effects").fetchall() == [(sha256_text(OWNER),)]
    db.close()

"""Whoever holds the shared token but no approval: nothing that waits to be approved takes effect through them."""

from __future__ import annotations

import base64
import itertools
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.installation import Installation, snapshot
from tests.support.working import approve, ended, events, pending, start, state, states, until

from interlock.common.addresses import parse_address
from interlock.common.client import channel, rpc_errors
from interlock.common.digests import sha256_text
from interlock.common.errors import InterlockError
from interlock.v1 import executor_pb2 as x
from interlock.v1.executor_pb2_grpc import ExecutorStub
from interlock.v1.run_pb2 import Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]

EDIT = '{edit_file: {path: a.py, new_content: "approved\\n"}}'
SHOW = "{run_command: {command: 'echo approved > a.py; cat a.py'}, gate: effect}"
ASK = "{run_command: {command: 'echo approved > a.py'}, gate: command}"
STRANGER = b"a secret of the attacker's own"
SECRETS: list[dict[str, Any]] = [{}, {"driver_key": STRANGER}]
EPOCHS = (0, 1, 2, 2**62)
FINE = {"EFFECT_NOT_OWNED", "EPOCH_STALE", "EFFECT_NOT_FOUND", "TREE_NOT_FOUND", "REVERT_CONFLICT"}
"""How the attacks may end. Every other end, success included, has to be named where it is allowed."""


class Attacker:
    """Every call that could act on a step, with everything that can be read through public calls."""

    def __init__(self, stub: Any, run: Run, number: int = 1, attempt: int = 1) -> None:
        self.stub, self.run = stub, run
        self.key = x.EffectKey(run_id=run.run_id, step=number, attempt=attempt)
        self.digests: set[str] = set()
        self.trees: set[str] = set()
        self.base = ""
        self.ends: list[str] = []

    async def look(self, shown: Any) -> None:
        """Read what there is."""
        preview = shown.preview
        self.digests |= {shown.digest, preview.request_digest, preview.effect_digest} - {""}
        try:
            found = (await self.stub.GetEffect(x.GetEffectRequest(key=self.key))).effect
        except Exception:  # noqa: BLE001 (nothing is prepared before a command is approved)
            return
        self.digests |= {found.request_digest, found.effect_digest}
        self.trees.add(found.result_tree)
        self.base = found.base_tree

    async def try_(self, call: Callable[[], Awaitable[Any]], *fine: str) -> None:
        try:
            with rpc_errors("executor"):
                await call()
            self.ends.append("OK")
        except InterlockError as error:
            self.ends.append(error.reason.value)
        assert self.ends[-1] in FINE | set(fine), self.ends[-1]

    async def apply(self) -> None:
        """With every pair of digests, epoch and secret."""
        for effect, approved in itertools.product(sorted(self.digests), repeat=2):
            for epoch, secret in itertools.product(EPOCHS, SECRETS):
                for owner in (b"", STRANGER, effect.encode()[:64]):
                    ask = x.ApplyRequest(
                        key=self.key, effect_digest=effect, approved_digest=approved, epoch=epoch,
                        owner_key=owner, **secret,
                    )  # fmt: skip
                    await self.try_(lambda ask=ask: self.stub.Apply(ask))  # type: ignore[misc]

    async def discard(self) -> None:
        """Also with the session."""
        for epoch, secret in itertools.product(EPOCHS, SECRETS):
            ask = x.DiscardRequest(key=self.key, epoch=epoch, owner_key=STRANGER, **secret)
            await self.try_(lambda ask=ask: self.stub.Discard(ask))  # type: ignore[misc]

    async def prepare(self) -> None:
        """The same step again, or another one in its place, as the attacker's or as nobody's."""
        for line, secret in itertools.product(("echo approved > a.py", "echo evil > a.py"), SECRETS):
            for digest in ("", sha256_text(STRANGER)):
                ask = x.PrepareRequest(
                    key=self.key, workspace_id=self.run.workspace_id, owner_key_digest=digest, epoch=1,
                    action={"run_command": {"command": line}}, **secret,
                )  # fmt: skip
                await self.try_(lambda ask=ask: self.stub.Prepare(ask))  # type: ignore[misc]

    async def restore(self) -> None:
        """The tree that would be published, by hand, for the run, and as a revert."""
        for number, tree in enumerate(sorted(self.trees)):
            ask = {"request_id": f"evil-{self.run.run_id}-{number}", "workspace_id": self.run.workspace_id}
            for secret in (
                {},
                {"run_id": self.run.run_id},
                {"run_id": self.run.run_id, "driver_key": STRANGER},
            ):
                restore = x.RestoreTreeRequest(**ask, tree=tree, epoch=2**62, **secret)
                await self.try_(lambda r=restore: self.stub.RestoreTree(r))  # type: ignore[misc]
                revert = x.RevertTreeRequest(**ask, from_tree=self.base, to_tree=tree, epoch=2**62, **secret)
                await self.try_(lambda r=revert: self.stub.RevertTree(r))  # type: ignore[misc]


ORDERS = list(itertools.permutations(("apply", "discard", "prepare", "restore")))


@pytest.mark.parametrize("step", [EDIT, SHOW, ASK], ids=["edit", "effect", "command"])
async def test_nothing_takes_effect_before_its_approval_and_then_exactly_what_was_shown(
    up: Installation, step: str
) -> None:
    project = up.project(a__py="old\n")
    before = snapshot(project)
    async with up.client() as client, at(up) as stub:
        run = await start(client, project, step)
        shown = await pending(client, run)
        attacker = Attacker(stub, run)
        await attacker.look(shown)
        assert shown.digest in attacker.digests
        assert step == ASK or attacker.trees, "the attacker knows the tree that would be published"
        for order in ORDERS[:: 1 if step == EDIT else 5]:
            for name in order:
                if step == ASK and name in ("prepare", "discard"):
                    continue  # nothing is recorded yet: see the test of planted effects
                await getattr(attacker, name)()
        assert "OK" not in attacker.ends
        assert snapshot(project) == before
        assert await pending(client, run) == shown, "what waits is what waited before"
        await client.decide(shown, "approve")
        run = await ended(client, run)
        assert (state(run), states(run)) == ("COMPLETED", ["SUCCEEDED"])
        assert run.steps[0].attempt == 1
        assert run.steps[0].effect.request_digest == shown.preview.request_digest
        if step != ASK:
            assert run.steps[0].effect.effect_digest == shown.digest
            assert run.steps[0].effect.result_tree == shown.preview.result_tree
        assert (project / "a.py").read_text() == "approved\n"


@pytest.mark.parametrize("secret", [*SECRETS, {"driver_key": STRANGER, "epoch": 2**62}])
@pytest.mark.parametrize("kind", ["prepare", "apply", "discard"])
async def test_an_effect_planted_before_the_orchestrators_is_never_the_runs(
    up: Installation, secret: dict[str, Any], kind: str
) -> None:
    """Under the run's own id, with the very step that will be approved, or thrown away beforehand."""
    project = up.project(a__py="old\n")
    async with up.client() as client, at(up) as stub:
        run = await start(client, project, SHOW, start=False)
        key = x.EffectKey(run_id=run.run_id, step=1, attempt=1)
        if kind == "discard":
            await stub.Discard(x.DiscardRequest(key=key, **secret))
        else:
            line = "echo evil > a.py; echo the same output"
            ask = x.PrepareRequest(
                key=key, workspace_id=run.workspace_id, action={"run_command": {"command": line}}, **secret
            )
            planted = (await stub.Prepare(ask)).effect
            if kind == "apply":
                digest = planted.effect_digest
                await stub.Apply(
                    x.ApplyRequest(key=key, effect_digest=digest, approved_digest=digest, **secret)
                )
        await client.start_run(run.run_id)
        shown = await pending(client, run)
        assert "+approved" in shown.preview.diff
        assert shown.preview.stdout.head == b"approved\n"
        if kind == "prepare":
            assert shown.preview.effect_digest != planted.effect_digest
            assert (project / "a.py").read_text() == "old\n"
        await client.decide(shown, "approve")
        run = await ended(client, run)
        assert (state(run), run.steps[0].attempt) == ("COMPLETED", 2)
        assert run.steps[0].effect.effect_digest == shown.digest
        assert (project / "a.py").read_text() == "approved\n"
        assert "step.preview_superseded" in await events(client, run)


async def test_a_driver_cannot_be_put_off_by_higher_epochs(up: Installation) -> None:
    project = up.project(a__py="old\n")
    async with up.client() as client, at(up) as stub:
        run = await start(client, project, EDIT, EDIT.replace("approved", "approved too"))
        shown = await pending(client, run)
        for secret in SECRETS:
            attacker = Attacker(stub, run, number=9)
            read = {"read_file": {"path": "a.py"}}
            ask = x.ProposeRequest(
                key=attacker.key, workspace_id=run.workspace_id, action=read, epoch=2**62, **secret
            )
            await attacker.try_(lambda ask=ask: stub.Propose(ask), "OK")  # type: ignore[misc]
        await client.decide(shown, "approve")
        await until(client, run, "SUCCEEDED")
        await approve(client, run)
        assert state(await ended(client, run)) == "COMPLETED"


async def test_no_secret_of_the_installation_is_told_or_kept_where_others_read(up: Installation) -> None:
    project = up.project(a__py="old\n")
    async with up.client() as client:
        run = await start(client, project, EDIT)
        await approve(client, run)
        await ended(client, run)
        journal = [str(event) async for event in client.list_events(run.run_id)]
    with sqlite3.connect(up.home / "executor" / "effects.db", timeout=10) as db:
        owners = db.execute("SELECT owner FROM effects WHERE run=?", (run.run_id,)).fetchall()
        drivers = db.execute("SELECT driver FROM drivers WHERE run=?", (run.run_id,)).fetchall()
    db.close()
    assert len(owners) == len(drivers) == 1
    told = "".join([*journal, *(path.read_text(errors="replace") for path in logs(up))])
    for (digest,) in [*owners, *drivers]:
        raw = bytes.fromhex(digest.removeprefix("sha256:"))
        for form in (raw.hex(), base64.b64encode(raw).decode()):
            assert form not in told


def logs(up: Installation) -> list[Path]:
    found = sorted((up.home / "data" / "logs").glob("*.log"))
    assert found
    return found


@asynccontextmanager
async def at(up: Installation) -> AsyncIterator[Any]:
    """A stub of the executor, with the token that everyone here shares."""
    token = (up.home / "data" / "token").read_text().strip()
    async with channel(parse_address(up.endpoints["executor"]), token, timeout=60) as opened:
        yield ExecutorStub(opened)

"""Between a preview and its publication: every way to change something is refused with its own reason.

Each case changes one thing while an approval is open and then approves, through a real orchestrator and executor.
Nothing of the step's may be in the live directory afterwards, and the workspace's head must be where it was. What
the executor refuses when it is called directly is in tests/integration/executor/service/test_tampering.py.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url
from tests.support.stack import COMMAND, EFFECT, FREE, Stack, command
from tests.support.trees import read_tree

from interlock.common.errors import InterlockError, Reason
from interlock.v1 import decision_pb2, executor_pb2

START = {"keep.txt": "kept\n", "script.sh": "echo fine > made\n"}
LINE = (
    "mkdir made; echo fine > made/one; echo fine > made/two; head -c 200000 /dev/zero | tr '\\0' x > made/big"
)


@dataclass
class Scene:
    """What a case may change."""

    stack: Stack
    live: Path
    database_url: str
    workspace: str = ""
    run: str = ""
    shown: decision_pb2.ApprovalRecord = field(default_factory=decision_pb2.ApprovalRecord)

    async def effects(self, change: str) -> None:
        """UPDATE of the step's record in the executor's register."""
        with sqlite3.connect(self.stack.executor.state / "effects.db", timeout=10) as db:
            assert db.execute(change, ()).rowcount == 1
        db.close()

    async def objects(self, change: Callable[[sqlite3.Connection], int]) -> None:
        """A change of the content store, unseen by what the executor keeps in memory or in forks."""
        await self.stack.executor.kill()
        with sqlite3.connect(self.stack.executor.state / "store" / "objects.db", timeout=10) as db:
            assert change(db) >= 1
        db.close()
        await self.stack.executor.start()

    def database(self, statement: str, *values: Any) -> int:
        """A change of the orchestrator's database by someone who owns it."""
        url = make_url(self.database_url).set(drivername="postgresql")
        with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as db:
            db.execute("ALTER TABLE payloads DISABLE TRIGGER payloads_guarded")
            return db.execute(statement, values).rowcount

    def upper(self) -> Path:
        """The fork that the preview was computed in."""
        (found,) = self.stack.executor.state.glob("workspaces/*/forks/*/up")
        return found


Tamper = Callable[[Scene], Awaitable[None]]
CASES: dict[str, tuple[Tamper, Reason]] = {}


def case(reason: Reason) -> Callable[[Tamper], Tamper]:
    def add(tamper: Tamper) -> Tamper:
        CASES[tamper.__name__] = (tamper, reason)
        return tamper

    return add


@case(Reason.EFFECT_TAMPERED)
async def a_file_of_the_fork(scene: Scene) -> None:
    (scene.upper() / "made/one").write_text("evil\n")


@case(Reason.EFFECT_TAMPERED)
async def a_new_file_in_the_fork(scene: Scene) -> None:
    (scene.upper() / "made/three").write_text("evil\n")


@case(Reason.EFFECT_TAMPERED)
async def a_mode_in_the_fork(scene: Scene) -> None:
    (scene.upper() / "made/one").chmod(0o777)


@case(Reason.EFFECT_TAMPERED)
async def a_stored_file(scene: Scene) -> None:
    stored = b"fine\n"
    await scene.objects(
        lambda db: db.execute("UPDATE objects SET data=? WHERE data=?", (b"evil\n", stored)).rowcount
    )


@case(Reason.EFFECT_TAMPERED)
async def a_stored_directory(scene: Scene) -> None:
    raw = bytes.fromhex(scene.shown.preview.result_tree[7:])
    await scene.objects(
        lambda db: db.execute("UPDATE objects SET form=0, data=x'00' WHERE id=?", (raw,)).rowcount
    )


@case(Reason.TREE_NOT_FOUND)
async def a_stored_directory_that_is_gone(scene: Scene) -> None:
    raw = bytes.fromhex(scene.shown.preview.result_tree[7:])
    await scene.objects(lambda db: db.execute("DELETE FROM objects WHERE id=?", (raw,)).rowcount)


@case(Reason.TREE_NOT_FOUND)
async def a_stored_file_that_is_gone(scene: Scene) -> None:
    await scene.objects(lambda db: db.execute("DELETE FROM objects WHERE data=?", (b"fine\n",)).rowcount)


@case(Reason.EFFECT_TAMPERED)
async def the_recorded_result_tree(scene: Scene) -> None:
    await scene.effects(f"UPDATE effects SET result_tree='{scene.shown.preview.base_tree}'")


@case(Reason.EFFECT_TAMPERED)
async def the_recorded_base_tree(scene: Scene) -> None:
    await scene.effects(f"UPDATE effects SET base_tree='{scene.shown.preview.result_tree}'")


@case(Reason.EFFECT_TAMPERED)
async def the_recorded_request(scene: Scene) -> None:
    await scene.effects(
        "UPDATE effects SET request_document=CAST(replace(CAST(request_document AS TEXT), 'fine', 'evil') AS BLOB)"
    )


@case(Reason.EFFECT_TAMPERED)
async def the_recorded_exit_code(scene: Scene) -> None:
    await scene.effects(
        "UPDATE effects SET effect_document="
        "CAST(replace(CAST(effect_document AS TEXT), '\"exit_code\":0', '\"exit_code\":1') AS BLOB)"
    )


@case(Reason.EFFECT_TAMPERED)
async def the_recorded_workspace(scene: Scene) -> None:
    await scene.effects("UPDATE effects SET workspace='ws-other'")


@case(Reason.EFFECT_NOT_FOUND)
async def the_record_is_gone(scene: Scene) -> None:
    await scene.effects("DELETE FROM effects")


@case(Reason.EFFECT_DISCARDED)
async def the_record_says_discarded(scene: Scene) -> None:
    await scene.effects("UPDATE effects SET state='discarded'")


@pytest.mark.parametrize("name", CASES)
async def test_what_was_stored_is_changed(stack: Stack, live: Path, database_url: str, name: str) -> None:
    tamper, reason = CASES[name]
    scene = await opened(stack, live, database_url, LINE)
    before, head = read_tree(live), await stack.executor.head(scene.workspace)
    await tamper(scene)
    await stack.decide(scene.shown)
    failed = await stack.until(scene.run, "FAILED")
    assert failed.failure.reason == reason.value, failed.failure
    assert read_tree(live) == before
    assert await stack.executor.head(scene.workspace) == head
    # The workspace is not left in the lurch: another run works on it.
    run = await stack.run(scene.workspace, command("echo later > later.txt", gate=EFFECT))
    await stack.decide(await stack.pending(run))
    await stack.until(run, "COMPLETED")
    assert read_tree(live).keys() == before.keys() | {b"later.txt"}


async def opened(stack: Stack, live: Path, database_url: str, line: str, gate: Any = EFFECT) -> Scene:
    """A run whose only step waits for its approval."""
    for name, content in START.items():
        (live / name).write_text(content)
    scene = Scene(stack, live, database_url, await stack.executor.workspace(live))
    scene.run = await stack.run(scene.workspace, command(line, gate=gate))
    scene.shown = await stack.pending(scene.run)
    return scene


async def refused(call: Awaitable[Any], reason: Reason) -> InterlockError:
    with pytest.raises(InterlockError) as caught:
        await call
    assert caught.value.reason is reason
    return caught.value


async def asks_again(scene: Scene, reason: str) -> decision_pb2.ApprovalRecord:
    """The first approval has become worthless: another one asks, and nothing has happened."""
    second = await scene.stack.pending(scene.run, replaces=scene.shown.approval_id)
    assert second.preview.changed_since.reason == reason
    assert second.digest != scene.shown.digest
    assert not (scene.live / "made").exists()
    return second


async def test_the_script_is_rewritten_between_approval_and_run(
    stack: Stack, live: Path, database_url: str
) -> None:
    scene = await opened(stack, live, database_url, "sh script.sh", COMMAND)
    (live / "script.sh").write_text("echo evil > made\n")
    await stack.decide(scene.shown)
    second = await asks_again(scene, "EFFECT_DIGEST_MISMATCH")
    assert "+echo evil > made" in second.preview.changed_since.workspace.diff
    assert (await stack.approval(scene.shown.approval_id)).superseded_by == second.approval_id


async def test_the_head_is_moved_by_another_run(stack: Stack, live: Path, database_url: str) -> None:
    """The orchestrator lets one run at a time write to a workspace; another caller of the executor is not asked."""
    scene = await opened(stack, live, database_url, LINE)
    key = executor_pb2.EffectKey(run_id="run-other", step=1, attempt=1)
    action = executor_pb2.Action(edit_file={"path": "theirs.txt", "new_content": "theirs\n"})
    prepared = await stack.executor.stub.Prepare(
        executor_pb2.PrepareRequest(key=key, workspace_id=scene.workspace, action=action)
    )
    digest = prepared.effect.effect_digest
    await stack.executor.stub.Apply(
        executor_pb2.ApplyRequest(key=key, effect_digest=digest, approved_digest=digest)
    )
    await stack.decide(scene.shown)
    second = await asks_again(scene, "WORKSPACE_HEAD_MOVED")
    await stack.decide(second)
    await stack.until(scene.run, "COMPLETED")
    assert (live / "theirs.txt").read_text() == "theirs\n"
    assert (live / "made/one").read_text() == "fine\n"


async def test_another_run_on_the_workspace_is_refused(stack: Stack, live: Path, database_url: str) -> None:
    scene = await opened(stack, live, database_url, LINE)
    told = await refused(stack.run(scene.workspace, command("echo x > made")), Reason.WORKSPACE_BUSY)
    assert scene.run in (told.message + str(told.metadata)), "the holder is named"


async def test_the_rules_that_commands_run_under_are_changed(
    stack: Stack, live: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a command may see was approved with it: under another sandbox it asks again."""
    scene = await opened(stack, live, database_url, "cat /opt/extra/* > made", COMMAND)
    extra = live.parent / "extra"
    extra.mkdir(mode=0o755)
    monkeypatch.setenv("INTERLOCK_EXTRA_RO_MOUNTS", f"{extra}:/opt/extra")
    await stack.executor.kill()
    await stack.executor.start()
    await stack.decide(scene.shown)
    await asks_again(scene, "EFFECT_DIGEST_MISMATCH")


async def test_the_approval_expired(stack: Stack, live: Path, database_url: str) -> None:
    for name, content in START.items():
        (live / name).write_text(content)
    workspace = await stack.executor.workspace(live)
    rules = type(FREE)(name="short", steps_may_weaken=True)
    rules.approval_timeout.FromMilliseconds(1000)
    run = await stack.run(workspace, command(LINE, gate=EFFECT), policy=rules)
    shown = await stack.pending(run)
    failed = await stack.until(run, "FAILED")
    assert failed.failure.reason == "APPROVAL_EXPIRED"
    await refused(stack.decide(shown), Reason.APPROVAL_EXPIRED)
    assert not (live / "made").exists()


async def test_an_approval_is_used_once(stack: Stack, live: Path, database_url: str) -> None:
    scene = await opened(stack, live, database_url, "echo x >> made")
    first = await stack.decide(scene.shown, request_id="decision-1")
    await stack.until(scene.run, "COMPLETED")
    (live / "made").unlink()
    assert (await stack.decide(scene.shown, request_id="decision-1")).decision == first.decision
    told = await refused(stack.decide(scene.shown), Reason.APPROVAL_ALREADY_DECIDED)
    assert told.metadata["state"] == "approved"
    assert not (live / "made").exists(), "nothing is published a second time"


async def test_a_decision_is_not_edited_afterwards(stack: Stack, live: Path, database_url: str) -> None:
    scene = await opened(stack, live, database_url, "echo x > made")
    await stack.decide(scene.shown, request_id="decision-1", reject={})
    await stack.until(scene.run, "FAILED")
    await refused(stack.decide(scene.shown, request_id="decision-1"), Reason.REQUEST_ID_REUSED)
    await refused(stack.decide(scene.shown, request_id="decision-2"), Reason.APPROVAL_ALREADY_DECIDED)
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
        scene.database("UPDATE journal SET type = type WHERE type = 'approval.decided'")
    # The table of approvals is a view of the journal for people: what it says decides nothing.
    assert scene.database("UPDATE approvals SET state = 'pending', resolved_at = NULL") == 1
    await refused(stack.decide(scene.shown, request_id="decision-3"), Reason.APPROVAL_ALREADY_DECIDED)
    assert not (live / "made").exists()


async def test_an_approval_for_something_else(stack: Stack, place: Path, database_url: str) -> None:
    scenes = []
    for name in ("one", "two"):
        (place / name).mkdir()
        scenes.append(await opened(stack, place / name, database_url, f"echo {name} > made"))
    one, two = scenes
    await refused(stack.decide(one.shown, run_id=two.run), Reason.APPROVAL_WRONG_STEP)
    await refused(stack.decide(one.shown, run_id=one.run, step=2), Reason.APPROVAL_WRONG_STEP)
    await refused(stack.decide(one.shown, digest=two.shown.digest), Reason.APPROVAL_DIGEST_MISMATCH)
    await refused(
        stack.decide(one.shown, digest=one.shown.preview.request_digest), Reason.APPROVAL_DIGEST_MISMATCH
    )
    nobody = decision_pb2.ApprovalRecord(approval_id="apr-none", digest=one.shown.digest)
    await refused(stack.decide(nobody), Reason.APPROVAL_NOT_FOUND)
    assert not (one.live / "made").exists()
    assert not (two.live / "made").exists()
    for scene in scenes:
        await stack.decide(scene.shown)
        await stack.until(scene.run, "COMPLETED")


async def test_an_approval_of_an_attempt_before(stack: Stack, live: Path, database_url: str) -> None:
    scene = await opened(stack, live, database_url, "echo first > made")
    edited = {"input": {"run_command": {"command": "echo second > made"}}}
    await stack.decide(scene.shown, edit=edited)
    await stack.until(scene.run, "AWAITING_APPROVAL")
    now = await stack.until(scene.run, "AWAITING_APPROVAL")
    second = await stack.approval(now.steps[0].approval_id)
    assert second.approval_id != scene.shown.approval_id
    await refused(stack.decide(scene.shown), Reason.APPROVAL_ALREADY_DECIDED)
    await refused(stack.decide(second, digest=scene.shown.digest), Reason.APPROVAL_DIGEST_MISMATCH)
    await stack.decide(second)
    await stack.until(scene.run, "COMPLETED")
    assert (live / "made").read_text() == "second\n"


@pytest.mark.parametrize("gate", [EFFECT, COMMAND])
async def test_what_is_shown_is_changed_in_the_database(
    stack: Stack, live: Path, database_url: str, gate: Any
) -> None:
    """A preview that does not have its digest is not shown, and what cannot be shown cannot be approved."""
    scene = await opened(stack, live, database_url, LINE, gate)
    changed = scene.database(
        "UPDATE payloads SET body = convert_to('nothing to see', 'UTF8') "
        "WHERE media_type = 'application/protobuf; type=interlock.v1.Effect'"
    )
    assert changed == 1
    stack.forget_payloads()
    assert not (await stack.approval(scene.shown.approval_id)).HasField("preview")
    await refused(stack.decide(scene.shown), Reason.EFFECT_TAMPERED)
    assert not (live / "made").exists()
    await stack.decide(scene.shown, reject={})


async def test_the_command_is_changed_in_the_database(stack: Stack, live: Path, database_url: str) -> None:
    """A long command is kept by its digest: one that does not have it is not run."""
    scene = await opened(stack, live, database_url, "echo fine > made" + " " * 5000, COMMAND)
    changed = scene.database(
        "UPDATE payloads SET body = convert_to('echo evil > made', 'UTF8') "
        "WHERE media_type LIKE 'text/%%' AND size > 4000"
    )
    assert changed == 1
    stack.forget_payloads()
    await stack.decide(scene.shown)
    failed = await stack.until(scene.run, "FAILED")
    assert failed.failure.reason == "EFFECT_TAMPERED"
    assert not (live / "made").exists()

"""Signatures and anchors of a real orchestrator, and what the verifier says when something of them is not so."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.support.orchestrator import Running, create, executor_server, orchestrator, read, until
from tests.support.scripted_executor import Script, ScriptedExecutor

from interlock.common import journal_keys
from interlock.common.errors import InterlockError, Reason
from interlock.orchestrator.worker.anchorer import Anchorer
from interlock.v1 import orchestrator_pb2 as o
from interlock.verify import verify_bundle
from interlock.verify.signed import Keys, read_keys


@dataclass
class World:
    """An orchestrator with a key, and a second one."""

    it: Running
    first: Path
    second: Path
    database_url: str

    async def run(self) -> str:
        run = await create(self.it.stub, read())
        await until(self.it.stub, run.run_id, "COMPLETED")
        return str(run.run_id)

    async def anchor(self, key: Path | None = None) -> bool:
        """One anchor now, signed with a key."""
        deps = self.it.deps
        with psycopg.connect(self.database_url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("DELETE FROM drivers WHERE owner = 'anchorer'")
        signer = journal_keys.load(key or self.first)
        return await Anchorer(deps.database, signer, deps.clock, interval=3600).once()

    async def bundle(self, run_id: str) -> list[bytes]:
        call = self.it.stub.ExportJournal(o.ExportJournalRequest(run_id=run_id))
        return b"".join([part.data async for part in call]).splitlines(keepends=True)

    def keys(self, *paths: Path) -> Keys:
        return read_keys([f"{path}.pub" for path in paths or (self.first,)])


@asynccontextmanager
async def signing(database_url: str, place: Path) -> AsyncIterator[World]:
    first, second = place / "first", place / "second"
    for path in (first, second):
        journal_keys.generate(path)
    settings: dict[str, Any] = {"journal_key": journal_keys.load(first), "anchor_seconds": 0.0}
    async with (
        executor_server(ScriptedExecutor(Script())) as executor,
        orchestrator(database_url, executor, **settings) as it,
    ):
        yield World(it, first, second, database_url)


def found(bundle: list[bytes], keys: Keys | None = None) -> list[str]:
    return [each.message for each in verify_bundle(bundle, keys=keys).problems]


def changed(bundle: list[bytes], at: int, **fields: Any) -> list[bytes]:
    """Written as carefully as a real one, with other fields in a line."""
    lines = [json.loads(line) for line in bundle]
    lines[at].update(fields)
    raw = [json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines[:-1]]
    end = {**lines[-1], "digest": "sha256:" + hashlib.sha256(b"".join(raw)).hexdigest()}
    return [*raw, json.dumps(end, separators=(",", ":")).encode() + b"\n"]


async def test_a_signed_bundle_and_its_anchors(database_url: str, tmp_path: Path) -> None:
    async with signing(database_url, tmp_path) as world:
        runs = [await world.run() for _ in range(3)]
        assert await world.anchor()
        assert not await world.anchor(), "nothing happened since"
        late = await world.run()
        assert await world.anchor(world.second)
        bundle, other = await world.bundle(runs[1]), await world.bundle(late)
        assert bundle == await world.bundle(runs[1]), "a bundle is the same each time"
        listed = (await world.it.stub.ListAnchors(o.ListAnchorsRequest())).anchors
        (told,) = (await world.it.stub.ListAnchors(o.ListAnchorsRequest(before_number=2))).anchors
        keys, both, wrong = world.keys(), world.keys(world.first, world.second), world.keys(world.second)
    assert [each.number for each in listed] == [2, 1]
    assert json.loads(listed[0].statement)["prev"] == listed[1].digest == told.digest
    report = verify_bundle(bundle, keys=keys)
    assert (report.problems, report.anchors, report.checked) == ([], 1, True)
    assert report.signed_by == journal_keys.load(tmp_path / "first").key_id
    assert found(bundle) == []
    assert (
        found(bundle, wrong) == [f"it is signed with {report.signed_by}, which is none of the keys given"] * 2
    )
    # A key that was replaced: both are named.
    assert found(other, both) == []
    (message,) = found(other, keys)
    assert "which is none of the keys given" in message
    _damaged(bundle, keys, other)


def _damaged(bundle: list[bytes], keys: Keys, other: list[bytes]) -> None:
    anchor, signature = len(bundle) - 3, len(bundle) - 2
    theirs = json.loads(other[-2])["signature"]
    said = json.loads(bundle[anchor])
    zero = "sha256:" + "0" * 64
    cases = {
        "its signature is not one of": changed(bundle, signature, signature=theirs),
        "it was made over event 99; the journal ends": changed(bundle, anchor, seq=99),
        "is not the one it was made over": changed(bundle, anchor, head=zero),
        "the run's head is not among those": changed(bundle, anchor, path=[zero, *said["path"][1:]]),
        "its signature is malformed": changed(bundle, anchor, signature="AAAA"),
        "it is malformed": changed(bundle, anchor, leaf="1"),
        "its key id is malformed": changed(bundle, signature, key="ed25519:1"),
    }
    for message, damaged in cases.items():
        assert any(message in each for each in found(damaged, keys)), message
    spoiled = bundle.copy()
    spoiled[signature] = (
        spoiled[signature].replace(b'"signature":"', b'"signature":"', 1)[:20]
        + (b"A" if spoiled[signature][20:21] != b"A" else b"B")
        + spoiled[signature][21:]
    )
    assert "its digest is not that of the lines before it: one was changed" in found(spoiled)
    unsigned = changed([*bundle[:signature], bundle[-1]], len(bundle) - 2, lines=len(bundle) - 1)
    assert found(unsigned, keys) == ["its head is not signed, and a key was given"]
    assert found(unsigned) == []


async def test_the_database_keeps_anchors_as_they_are(database_url: str, tmp_path: Path) -> None:
    async with signing(database_url, tmp_path) as world:
        await world.run()
        await world.anchor()
    with psycopg.connect(database_url.replace("+psycopg", ""), autocommit=True) as connection:
        for table in ("anchors", "anchored_heads"):
            for statement in (f"DELETE FROM {table}", f"TRUNCATE {table}"):
                with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="append-only"):
                    connection.execute(statement)
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="append-only"):
            connection.execute("UPDATE anchors SET number = 9")


async def test_the_feed_tells_the_newest_anchor(database_url: str, tmp_path: Path) -> None:
    async with signing(database_url, tmp_path) as world:
        await world.run()
        await world.anchor()
        (anchor,) = (await world.it.stub.ListAnchors(o.ListAnchorsRequest())).anchors
        async with (
            executor_server(ScriptedExecutor(Script())) as executor,
            orchestrator(database_url, executor) as later,
        ):
            while later.deps.anchorer is None or later.deps.anchorer.newest is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            call = later.stub.WatchApprovals(o.WatchApprovalsRequest())
            async for frame in call:
                if frame.caught_up:
                    assert frame.anchor == anchor
                    call.cancel()
                    return


PEM = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize("content", [b"", b"not a key", PEM], ids=["empty", "text", "damaged"])
def test_a_key_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(InterlockError) as caught:
        journal_keys.load(tmp_path / "key")
    assert caught.value.reason is Reason.INVALID_ARGUMENT
    assert caught.value.field == "INTERLOCK_JOURNAL_KEY_FILE"


def test_a_key_is_made_once_and_kept_from_others(tmp_path: Path) -> None:
    name = journal_keys.generate(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert journal_keys.load(tmp_path / "key").key_id == name
    assert list(read_keys([tmp_path / "key.pub"])) == [name]
    with pytest.raises(InterlockError, match="exists"):
        journal_keys.generate(tmp_path / "key")
    with pytest.raises(ValueError, match="is not an Ed25519 public key"):
        read_keys([tmp_path / "key"])
    (tmp_path / "key").chmod(0o604)
    with pytest.raises(InterlockError, match="may be read by everybody"):
        journal_keys.load(tmp_path / "key")

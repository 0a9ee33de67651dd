"""What the client does with an export: archives that lie, and journals as commits."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.journals import START, Journal, digest, history_of

from interlock.client.exporting.history import History, read_history
from interlock.client.exporting.places import new_directory, new_file
from interlock.client.exporting.unpack import Unpacker
from interlock.common.errors import InterlockError
from interlock.orchestrator.domain import events as e
from interlock.orchestrator.domain.model import StepKind, StepSpec
from interlock.orchestrator.domain.undo import moment_after
from interlock.v1.journal_pb2 import JournalEvent


def archive(*members: tuple[str, bytes, dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, content, fields in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in fields.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def unpack(data: bytes, into: Path, piece: int = 1000) -> None:
    unpacker = Unpacker(into)
    try:
        for at in range(0, len(data), piece):
            unpacker.write(data[at : at + piece])
        unpacker.finish()
    finally:
        unpacker.close()


LINK = {"type": tarfile.SYMTYPE, "linkname": ".."}


@pytest.mark.parametrize(
    "members",
    [
        [("../out", b"x", {})],
        [("/abs", b"x", {})],
        [("a/../../out", b"x", {})],
        [("./a", b"x", {})],
        [("l", b"", LINK), ("l/out", b"x", {})],
        [("a", b"x", {}), ("a", b"y", {})],
        [("a", b"x", {}), ("a/b", b"y", {})],
        [("no/parent", b"x", {})],
        [("fifo", b"", {"type": tarfile.FIFOTYPE})],
        [("hard", b"", {"type": tarfile.LNKTYPE, "linkname": "a"})],
        [("dev", b"", {"type": tarfile.CHRTYPE})],
    ],
    ids=repr,
)
def test_an_archive_that_leads_elsewhere_is_refused(
    tmp_path: Path, members: list[tuple[str, bytes, dict[str, Any]]]
) -> None:
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises((InterlockError, OSError)):
        unpack(archive(*members), into)
    assert sorted(os.listdir(tmp_path)) == ["into"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("cut", [100, 512, 700, 1024, 1536])
def test_an_archive_that_is_cut_off_is_noticed(tmp_path: Path, cut: int) -> None:
    data = archive(("a", b"x" * 600, {}))
    with pytest.raises(InterlockError, match="damaged"):
        unpack(data[:cut], tmp_path)


@pytest.mark.parametrize("at", [0, 100, 148, 257])
def test_a_header_that_was_changed_is_noticed(tmp_path: Path, at: int) -> None:
    data = bytearray(archive(("a", b"x", {})))
    data[at] ^= 1
    with pytest.raises(InterlockError, match="damaged"):
        unpack(bytes(data), tmp_path)


def test_something_after_the_end_is_noticed(tmp_path: Path) -> None:
    data = archive(("a", b"x", {}))
    with pytest.raises(InterlockError, match="follows its end"):
        unpack(data + data, tmp_path)


@pytest.mark.parametrize("piece", [1, 511, 512, 513, 100_000])
def test_pieces_may_be_cut_anywhere(tmp_path: Path, piece: int) -> None:
    long = "d" * 90 + "/" + "f" * 120
    directory = {"type": tarfile.DIRTYPE, "mode": 0o500}
    data = archive(("d" * 90, b"", directory), (long, b"y" * 1500, {"mode": 0o640}), ("z", b"", {}))
    unpack(data, tmp_path, piece)
    assert (tmp_path / long).read_bytes() == b"y" * 1500
    assert (tmp_path / long).stat().st_mode & 0o7777 == 0o640
    assert (tmp_path / ("d" * 90)).stat().st_mode & 0o7777 == 0o500


def test_a_place_is_filled_whole_or_not_at_all(tmp_path: Path) -> None:
    for name in ("absent", "empty"):
        target = tmp_path / name
        if name == "empty":
            target.mkdir()
        with pytest.raises(KeyError), new_directory(target) as part:  # noqa: PT012
            (part / "x").mkdir()
            (part / "x").chmod(0)
            raise KeyError
        assert sorted(os.listdir(tmp_path)) == (["empty"] if name == "empty" else [])
        with new_directory(target) as part:
            (part / "x").touch()
        assert os.listdir(target) == ["x"]
        (target / "x").unlink()
        target.rmdir()
    with pytest.raises(KeyError), new_file(tmp_path / "file") as fd:  # noqa: PT012
        os.write(fd, b"x")
        raise KeyError
    assert os.listdir(tmp_path) == []


def test_places_that_are_taken(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "dir")
    (tmp_path / "dir").mkdir()
    for target in (tmp_path / "file", tmp_path / "link", tmp_path, tmp_path / "no" / "where"):
        with pytest.raises(InterlockError) as caught, new_directory(target):
            raise AssertionError(target)
        assert caught.value.field == "out"
    with pytest.raises(InterlockError), new_file(tmp_path / "dir"):
        raise AssertionError


async def history(*journals: Journal) -> History:
    by_run = {journal.run.run_id: journal for journal in journals}

    async def events(run_id: str) -> AsyncIterator[JournalEvent]:
        for sealed in by_run[run_id].sealed:
            event = JournalEvent(
                run_id=run_id,
                seq=sealed.seq,
                type=sealed.type,
                step=sealed.step,
                canonical_json=sealed.canonical,
                digest=sealed.digest,
            )
            event.at.FromDatetime(sealed.at)
            yield event

    return await read_history(journals[-1].run.run_id, events)


async def test_every_step_that_changed_something_is_a_commit() -> None:
    parent = history_of()
    parent.look(3, "2")
    found = await history(parent)
    assert [item.tree for item in found.items] == [digest("0"), digest("1"), digest("2")]
    assert found.upto == {0: 1, 1: 2, 2: 3, 3: 3}
    assert found.items[1].at.seconds == int(START.timestamp()) + 8
    assert found.items[1].message == (
        "Step 1: edit_file a\n\n"
        "Interlock-Run: run-parent\nInterlock-Step: 1\n"
        f"Interlock-Effect: {digest('f')}\n"
        "Interlock-Approval: apr-1-1\nInterlock-Approved-By: bob\nInterlock-Approved-Via: cli\n"
        f"Interlock-Tree: {digest('1')}\nInterlock-Event: 9 {parent.sealed[8].digest}\n"
    )
    assert [item.tree for item in found.at(1)] == [digest("0"), digest("1")]
    with pytest.raises(KeyError):
        found.at(4)


async def test_after_a_step_is_the_tree_that_rollbacks_and_forks_go_to() -> None:
    """Undone, tried again, passed over: everywhere the tree that the step left when it last ended."""
    parent = history_of()
    parent.add(e.StepSkipped("ann", step=3), e.RunCompleted())
    parent.add(e.StepRevertRequested("op-1", digest("1"), digest("0"), step=1))
    parent.add(e.StepReverted("op-1", digest("4"), digest("2"), merged=True, step=1))
    parent.add(e.RunReopened("ann"), e.StepRetried("ann", step=1))
    again = await history(parent)
    with pytest.raises(KeyError):
        again.at(1)
    parent.add(e.RunResumed("ann"))
    parent.edit(1, "4", "5", attempt=2)
    found = await history(parent)
    for step, tree in enumerate("0522"):
        assert found.at(step)[-1].tree == digest(tree) == moment_after(parent.run, step)[0]
        assert parent.beginning(step).tree == digest(tree)
    child = parent.forked(1, "run-child")
    whole = await history(parent, child)
    assert [item.tree[-1] for item in whole.items] == ["0", "1", "2", "4", "5"]
    assert child.run.inherited == 2, "what step 2 did is in the tree that step 1 left"
    assert whole.at(2)[-1].tree == digest("2")


async def test_other_moves_are_commits_too() -> None:
    parent = history_of(1)
    parent.add(e.DriftAdopted(digest("1"), digest("7")))
    parent.edit(2, "7", "8")
    parent.add(e.RunPaused("requested"), e.RollbackRequested("op-1", digest("0")))
    parent.add(e.RolledBack("op-1", digest("0"), digest("8")))
    found = await history(parent)
    assert [item.tree[-1] for item in found.items] == ["0", "1", "7", "8", "0"]
    subjects = [item.message.splitlines()[0] for item in found.items]
    assert subjects[2::2] == ["Someone changed the directory", "Roll back"]
    assert "Interlock-Operation: op-1" in found.items[-1].message


async def test_a_forks_history_begins_with_its_parents() -> None:
    parent = history_of()
    child = parent.forked(1)
    child.start()
    child.edit(2, "1", "9")
    grand = child.forked(2, "run-grand")
    base, whole = await history(parent), await history(parent, child, grand)
    assert whole.items[:2] == base.items[:2]
    assert [item.tree[-1] for item in whole.items] == ["0", "1", "9"]
    assert [item.workspace_id for item in whole.items] == ["ws-1", "ws-1", "ws-2"]
    assert "Interlock-Run: run-child" in whole.items[2].message


async def test_a_fork_that_has_done_nothing_has_the_tree_it_began_with() -> None:
    parent = Journal()
    found = await history(parent, parent.forked(0))
    assert [(item.tree, item.workspace_id) for item in found.items] == [(digest("0"), "ws-2")]


async def test_no_text_begins_another_trailer() -> None:
    evil = "x\n\nInterlock-Approved-By: the boss\r\u2028Interlock-Step: 9\x1b[2J"
    plan = (StepSpec(StepKind.EDIT_FILE, {"path": evil}),)
    parent = Journal("run-parent", e.RunCreated(evil, "ws-1", "ann"), e.StepsAdded(1, plan))
    parent.start()
    parent.edit(1, "0", "1", by=evil)
    for item in (await history(parent)).items:
        subject, empty, *trailers = item.message.splitlines()
        assert empty == ""
        assert all(line.startswith("Interlock-") for line in trailers)
        assert len([line for line in trailers if line.startswith("Interlock-Step: ")]) == 1
        assert item.message.replace("\n", "").isprintable()
        assert len(subject) <= 72

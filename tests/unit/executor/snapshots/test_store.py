"""The object store: what goes in comes out, or an error says why not."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.common.errors import InterlockError, Reason
from interlock.executor.snapshots.store import BIG_BYTES, Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=300), max_size=20))
def test_objects_come_back(store: Store, contents: list[bytes]) -> None:
    batch = store.batch()
    ids = [batch.put(content) for content in contents]
    assert ids == [hashlib.sha256(content).digest() for content in contents]
    batch.commit()
    assert [store.get(object_id) for object_id in ids] == contents
    assert [store.size(object_id) for object_id in ids] == [len(content) for content in contents]


@pytest.mark.parametrize("size", [BIG_BYTES - 1, BIG_BYTES, BIG_BYTES + 1, 3 * BIG_BYTES + 7])
def test_big_objects_are_files(store: Store, tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    for put in (
        lambda batch: batch.put(content),
        lambda batch: batch.put_stream(iter([content[:1000], content[1000:]])),
    ):
        batch = store.batch()
        object_id = put(batch)
        batch.commit()
        assert store.get(object_id) == content
        assert store.size(object_id) == size
    path = store.big_path(object_id)
    assert (path is not None) == (size > BIG_BYTES)
    assert [p for p in (tmp_path / "big").iterdir() if p.name.startswith(".new")] == []


def test_the_same_content_is_stored_once(store: Store) -> None:
    for _ in range(3):
        batch = store.batch()
        batch.put(b"x" * 10_000)
        batch.commit()
    usage = store.usage()
    assert (usage.objects, usage.content_bytes) == (1, 10_000)
    assert usage.disk_bytes < 200


def test_what_is_not_there(store: Store) -> None:
    for read in (store.get, store.size, store.directory_entries):
        with pytest.raises(InterlockError) as caught:
            read(b"\0" * 32)
        assert caught.value.reason is Reason.TREE_NOT_FOUND
    assert store.times(b"\0" * 32) == {}
    batch = store.batch()
    no_tree = batch.put(b"just a file")
    batch.commit()
    with pytest.raises(InterlockError) as caught:
        store.directory_entries(no_tree)
    assert caught.value.reason is Reason.TREE_NOT_FOUND
    assert store.times(no_tree) == {}


def test_damage_is_noticed(store: Store, tmp_path: Path) -> None:
    batch = store.batch()
    small, packed = batch.put(b"small"), batch.put(b"packed" * 100)
    big = batch.put(os.urandom(BIG_BYTES + 5))
    batch.commit()
    for object_id, data in ((small, b"smell"), (packed, b"garbage")):
        store._writer.execute("UPDATE objects SET data=? WHERE id=?", (data, object_id))
    path = store.big_path(big)
    assert path is not None
    with open(path, "r+b") as file:
        file.write(b"????")
    for object_id in (small, packed, big):
        with pytest.raises(InterlockError, match="damaged") as caught:
            store.get(object_id)
        assert caught.value.reason is Reason.EFFECT_TAMPERED
    path.unlink()
    with pytest.raises(InterlockError) as caught:
        store.get(big)
    assert caught.value.reason is Reason.TREE_NOT_FOUND


def test_many_threads_write_and_read_at_once(store: Store) -> None:
    def work(number: int) -> int:
        for index in range(30):
            batch = store.batch()
            mine = batch.put(b"%d-%d" % (number, index))
            shared = batch.put(b"shared %d" % index)
            batch.commit()
            assert store.get(mine) == b"%d-%d" % (number, index)
            assert store.get(shared) == b"shared %d" % index
        return number

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(work, range(6))) == [0, 1, 2, 3, 4, 5]
    assert store.usage().objects == 6 * 30 + 30


def test_a_store_is_read_by_the_next_process(tmp_path: Path) -> None:
    first = Store(tmp_path)
    batch = first.batch()
    object_id = batch.put(b"kept")
    batch.commit()
    first.close()
    second = Store(tmp_path)
    assert second.get(object_id) == b"kept"
    second.close()

"""Objects read many at a time: the same bytes, the same errors, in bounds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.executor.snapshots import contents as module
from interlock.executor.snapshots.contents import Contents
from interlock.executor.snapshots.store import BIG_BYTES, Store

NOWHERE = b"\0" * 32


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.close()


def put(store: Store, contents: list[bytes]) -> list[bytes]:
    batch = store.batch()
    ids = [batch.put(content) for content in contents]
    batch.commit()
    return ids


def test_sizes_and_bytes_of_many(store: Store) -> None:
    contents = [b"%d" % number * (number % 70) for number in range(700)]
    ids = put(store, contents)
    assert store.sizes([*ids, *ids]) == {i: len(content) for i, content in zip(ids, contents, strict=True)}
    assert dict(store.small(ids)) == dict(zip(ids, contents, strict=True))
    assert store.sizes([]) == {}
    assert list(store.small([])) == []
    with pytest.raises(InterlockError) as caught:
        store.sizes([*ids, NOWHERE])
    assert caught.value.reason is Reason.TREE_NOT_FOUND


def test_what_is_put_twice_is_written_once_and_counted_once(store: Store) -> None:
    put(store, [b"%d" % number for number in range(600)])
    put(store, [b"%d" % number for number in range(300, 900)])
    assert store.usage().objects == 900


@pytest.mark.parametrize(("ahead", "keep"), [(8 << 20, 32 << 20), (1000, 3000), (1, 1)])
def test_contents_come_in_order_and_again(
    store: Store, monkeypatch: pytest.MonkeyPatch, ahead: int, keep: int
) -> None:
    monkeypatch.setattr(module, "_AHEAD", ahead)
    monkeypatch.setattr(module, "_KEEP", keep)
    known = [b"%d" % number * 40 for number in range(200)]
    ids = put(store, known)
    asked = Contents(store, [*ids, *ids[:5]])
    for _ in range(2):
        assert [asked.small(object_id) for object_id in ids] == known
        assert sum(map(len, asked._here.values())) <= keep + ahead + 200


def test_big_and_missing_and_damaged_contents(store: Store) -> None:
    small, big = put(store, [b"small", os.urandom(BIG_BYTES + 1)])
    asked = Contents(store, [big, small])
    assert asked.small(big) is None
    assert asked.small(small) == b"small"
    with pytest.raises(InterlockError) as caught:
        Contents(store, [small, NOWHERE]).small(NOWHERE)
    assert caught.value.reason is Reason.TREE_NOT_FOUND
    store._writer.execute("UPDATE objects SET form=0, data=? WHERE id=?", (b"smell", small))
    with pytest.raises(InterlockError) as caught:
        Contents(store, [small]).small(small)
    assert caught.value.reason is Reason.EFFECT_TAMPERED


def test_what_nobody_asks_for_may_be_lost(store: Store) -> None:
    first, damaged, last = put(store, [b"first", b"damaged", b"last"])
    store._writer.execute("UPDATE objects SET form=0, data=? WHERE id=?", (b"other", damaged))
    asked = Contents(store, [first, NOWHERE, damaged, last])
    assert (asked.small(first), asked.small(last)) == (b"first", b"last")
    with pytest.raises(InterlockError) as caught:
        asked.small(damaged)
    assert caught.value.reason is Reason.EFFECT_TAMPERED

"""Tree ids: the published vectors, and the encoding as a bijection."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.common.digests import digest_text
from interlock.executor.files.root import Root
from interlock.executor.snapshots.encoding import (
    EMPTY_TREE,
    TREE_DOMAIN,
    Malformed,
    decode_directory,
    decode_times,
    encode_directory,
    encode_times,
    object_id,
)
from interlock.executor.snapshots.model import Entry, Limits, Times
from interlock.executor.snapshots.scan import StatCache, scan
from interlock.executor.snapshots.store import Store

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text())
names = st.binary(min_size=1, max_size=30).filter(lambda n: b"/" not in n and b"\0" not in n)
hashes = st.binary(min_size=32, max_size=32)
entries = st.one_of(
    st.builds(Entry, st.sampled_from("fd"), st.integers(0, 0o7777), hashes),
    st.builds(Entry, st.just("l"), st.just(0), st.binary(max_size=50)),
)
times = st.builds(Times, st.integers(-(2**63), 2**63 - 1), st.one_of(st.just(b""), hashes))


def make(directory: Path, listed: list[dict[str, Any]]) -> None:
    for item in listed:
        path = os.path.join(bytes(directory), bytes.fromhex(item["name_hex"]))
        if item["type"] == "l":
            os.symlink(bytes.fromhex(item["target_hex"]), path)
            continue
        if item["type"] == "d":
            os.mkdir(path)
            make(Path(os.fsdecode(path)), item["entries"])
        else:
            Path(os.fsdecode(path)).write_bytes(bytes.fromhex(item["content_hex"]))
        os.chmod(path, int(item["mode"], 8))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["about"])
def test_vectors(vector: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    make(tmp_path / "tree", vector["entries"])
    store = Store(tmp_path / "store")
    with Root.open(tmp_path / "tree") as root:
        tree = scan(root, store.batch(), StatCache(), Limits()).snapshot.tree
    assert digest_text(tree) == vector["tree"]
    assert store.get(tree).hex() == vector["object_hex"]
    assert digest_text(object_id(bytes.fromhex(vector["object_hex"]))) == vector["tree"]
    store.close()


@given(st.dictionaries(names, entries))
def test_a_directory_object_is_read_as_it_was_written(content: dict[bytes, Entry]) -> None:
    data = encode_directory(content)
    assert decode_directory(data) == content
    assert list(decode_directory(data)) == sorted(content)
    assert encode_directory(decode_directory(data)) == data


@given(st.dictionaries(names, times))
def test_a_times_object_is_read_as_it_was_written(content: dict[bytes, Times]) -> None:
    assert decode_times(encode_times(content)) == content


@given(st.dictionaries(names, entries, min_size=1), st.data())
def test_cut_or_foreign_bytes_are_refused_or_another_directory(
    content: dict[bytes, Entry], data: Any
) -> None:
    whole = encode_directory(content)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    try:
        shorter = decode_directory(cut)
    except Malformed:
        return
    assert len(shorter) < len(content)
    assert encode_directory(shorter) == cut


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"interlock.tree.v2\n",
        TREE_DOMAIN + b"x\0\0\0\1a" + b"0" * 32,
        TREE_DOMAIN + (b"f\0\0\0\1b" + b"0" * 32) + (b"f\0\0\0\1a" + b"0" * 32),
        TREE_DOMAIN + (b"f\0\0\0\1a" + b"0" * 32) * 2,
        TREE_DOMAIN + b"f\0\0\0\0" + b"0" * 32,
    ],
)
def test_what_encode_would_not_write_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode_directory(data)


def test_the_empty_tree() -> None:
    assert object_id(encode_directory({})) == EMPTY_TREE
    assert decode_directory(TREE_DOMAIN) == {}
    with pytest.raises(Malformed):
        decode_times(TREE_DOMAIN)

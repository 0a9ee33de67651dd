"""The tree that anchors are made over, and the verifier's independent reading of it."""

from __future__ import annotations

import hashlib

import pytest

from interlock.orchestrator.domain import anchors
from interlock.verify.signed import root_of


def leaves(count: int) -> list[bytes]:
    return [anchors.leaf(f"run-{n:03d}", n + 1, bytes([n]) * 32) for n in range(count)]


def by_the_rfc(each: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word: split at the largest power of two below the size."""
    if len(each) == 1:
        return each[0]
    k = 1
    while k * 2 < len(each):
        k *= 2
    return hashlib.sha256(b"\1" + by_the_rfc(each[:k]) + by_the_rfc(each[k:])).digest()


@pytest.mark.parametrize("count", [*range(1, 18), 31, 32, 33, 100])
def test_every_leaf_leads_to_the_root_and_to_no_other(count: int) -> None:
    each = leaves(count)
    root = anchors.root(each)
    assert root == by_the_rfc(each)
    for index, leaf in enumerate(each):
        path = anchors.path(each, index)
        assert root_of(leaf, index, count, path) == root
        assert root_of(leaf, count, count, path) is None
        assert root_of(leaf, index, count, [*path, root]) != root
        assert root_of(b"\0" * 32, index, count, path) != root
        if path:
            assert root_of(leaf, index, count, path[:-1]) != root
            assert root_of(leaf, index ^ 1, count, path) != root


def test_a_leaf_names_run_place_and_head() -> None:
    one = anchors.leaf("run-1", 7, b"\1" * 32)
    others = [
        anchors.leaf("run-2", 7, b"\1" * 32),
        anchors.leaf("run-1", 8, b"\1" * 32),
        anchors.leaf("run-1", 7, b"\2" * 32),
    ]
    assert one not in others

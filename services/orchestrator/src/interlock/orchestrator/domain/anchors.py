"""Anchors: signed statements about the heads of all runs that changed since the one before.

The heads are the leaves of a Merkle tree as RFC 6962, section 2.1, makes it, so that one run's bundle can show that
its head is among them without naming another run. Format: docs/journal-format.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from interlock.common.digests import canonical_json, sha256_text

VERSION = 1
_HEAD = b"interlock.journal.head.v1\n"
_ANCHOR = b"interlock.journal.anchor.v1\n"


def head_message(run_id: str, events: int, head: str, key_id: str) -> bytes:
    """What a signature of a run's head is over."""
    return _HEAD + canonical_json({"events": events, "head": head, "key": key_id, "run_id": run_id})


def statement(number: int, at: str, position: int, heads: int, root: bytes, prev: str, key_id: str) -> bytes:
    """What an anchor says; `prev` is the digest of the statement before it."""
    said = {
        "anchor": number,
        "at": at,
        "heads": heads,
        "key": key_id,
        "position": position,
        "prev": prev,
        "root": "sha256:" + root.hex(),
        "v": VERSION,
    }
    return canonical_json(said)


def anchor_message(said: bytes) -> bytes:
    """What the signature of an anchor's statement is over."""
    return _ANCHOR + said


def digest(said: bytes) -> str:
    """Names a statement: `sha256:…`."""
    return sha256_text(said)


def leaf(run_id: str, seq: int, head: bytes) -> bytes:
    """The hash of a leaf."""
    said = canonical_json({"head": "sha256:" + head.hex(), "run_id": run_id, "seq": seq})
    return hashlib.sha256(b"\0" + said).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The root over hashes of leaves, at least one."""
    return _levels(leaves)[-1][0]


def path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The hashes beside the way from a leaf to the root, lowest first (RFC 6962, section 2.1.1)."""
    found = []
    for level in _levels(leaves)[:-1]:
        beside = index ^ 1
        if beside < len(level):
            found.append(level[beside])
        index //= 2
    return found


def _levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """From the leaves up: two make one, and what is left over goes up as it is. The same tree as the RFC's."""
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        pairs = [_node(*below[at : at + 2]) for at in range(0, len(below) - 1, 2)]
        levels.append(pairs + below[len(pairs) * 2 :])
    return levels


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()

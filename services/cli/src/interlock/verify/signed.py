"""Anchors and the signature of a bundle (version 2): what a holder of a key has said of the journal.

The form is checked always, and so is that each anchor's tree has the run's head in it. Signatures are Ed25519 (RFC
8032) and are checked when public keys are given; only then is anything needed beyond Python's standard library.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from interlock.verify import canonical
from interlock.verify.chain import is_digest
from interlock.verify.lines import from_base64
from interlock.verify.report import Report

ANCHOR = ["anchor", "signature", "seq", "head", "leaf", "path"]
SIGNATURE = ["signature", "key"]
_SAID = {"anchor", "at", "heads", "key", "position", "prev", "root", "v"}
_KEY_ID = re.compile(r"ed25519:[0-9a-f]{32}")
_MOST_LEVELS = 64

Keys = Mapping[str, Callable[[bytes, bytes], bool]]
"""By key id: whether a signature of a message is that key's."""


def read_keys(paths: Iterable[str | Path]) -> Keys:
    """The public keys in PEM files. Raises OSError; ValueError for a file that is none; ImportError."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    def checker(key: Ed25519PublicKey) -> Callable[[bytes, bytes], bool]:
        def check(signature: bytes, message: bytes) -> bool:
            try:
                key.verify(signature, message)
            except InvalidSignature:
                return False
            return True

        return check

    found = {}
    for path in paths:
        try:
            key = load_pem_public_key(Path(path).read_bytes())
        except (ValueError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, Ed25519PublicKey):
            raise ValueError(f"{path} is not an Ed25519 public key in PEM")
        name = "ed25519:" + hashlib.sha256(key.public_bytes_raw()).hexdigest()[:32]
        found[name] = checker(key)
    return found


class Signed:
    """Takes these lines in order; `finish` checks them when the chain is known."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._anchors: list[tuple[int, dict[str, Any]]] = []
        self._signature: tuple[int, dict[str, Any]] | None = None

    @property
    def begun(self) -> bool:
        """Whether there was one: events and payloads come before."""
        return bool(self._anchors or self._signature)

    def read(self, line: int, value: dict[str, Any]) -> None:
        """The next line, an anchor or the signature."""
        if self._signature is not None:
            self._report.add(line, "bundle", "the signature is not the last line but one")
        if "anchor" in value:
            self._anchors.append((line, value))
        else:
            self._signature = (line, value)

    def finish(self, run_id: str, digests: Sequence[str], head: str, keys: Keys | None) -> None:
        """Check everything. With `keys`, the head must have a signature of one of them."""
        report = self._report
        report.anchors, report.checked = len(self._anchors), keys is not None
        last = (0, 0)
        for line, value in self._anchors:
            said = _said(value)
            if said is None:
                report.add(line, "anchor", "it is malformed")
                continue
            where = f"anchor {said['anchor']}"
            for found in [*_wrong(said, value, run_id, digests), *_order(last, said, value)]:
                report.add(line, where, found)
            message = b"interlock.journal.anchor.v1\n" + canonical.dump(said)
            self._verify(line, where, said["key"], value["signature"], message, keys)
            last = (said["anchor"], value["seq"])
        if self._signature is not None:
            line, value = self._signature
            if not _is_key(value["key"]):
                report.add(line, "signature", "its key id is malformed")
                return
            report.signed_by = value["key"]
            said = {"events": len(digests), "head": head, "key": value["key"], "run_id": run_id}
            message = b"interlock.journal.head.v1\n" + canonical.dump(said)
            self._verify(line, "signature", value["key"], value["signature"], message, keys)
        elif keys is not None:
            report.add(0, "bundle", "its head is not signed, and a key was given")

    def _verify(
        self, line: int, where: str, key: str, text: object, message: bytes, keys: Keys | None
    ) -> None:
        signature = from_base64(text)
        if signature is None or len(signature) != 64:
            self._report.add(line, where, "its signature is malformed")
        elif keys is not None and key not in keys:
            self._report.add(line, where, f"it is signed with {key}, which is none of the keys given")
        elif keys is not None and not keys[key](signature, message):
            self._report.add(line, where, f"its signature is not one of {key} over this journal")


def _said(value: dict[str, Any]) -> dict[str, Any] | None:
    """An anchor's statement, or None unless everything in the line has the right type."""
    data = from_base64(value["anchor"])
    try:
        said = canonical.parse(data) if data is not None else None
    except canonical.NotCanonicalError:
        return None
    if not isinstance(said, dict) or set(said) != _SAID or not isinstance(value["path"], list):
        return None
    numbers = [said[name] for name in ("anchor", "heads", "position", "v")] + [value["seq"], value["leaf"]]
    texts = [said["root"], said["prev"], value["head"], *value["path"]]
    right = (
        all(type(each) is int and each >= 0 for each in numbers)
        and all(map(is_digest, texts))
        and _is_key(said["key"])
        and isinstance(said["at"], str)
        and said["v"] == 1
        and value["seq"] >= 1
        and len(value["path"]) <= _MOST_LEVELS
    )
    return said if right else None


def _wrong(said: dict[str, Any], value: dict[str, Any], run_id: str, digests: Sequence[str]) -> list[str]:
    found = []
    seq, head = value["seq"], value["head"]
    if seq > len(digests):
        found.append(f"it was made over event {seq}; the journal ends after event {len(digests)}: cut off")
    elif digests[seq - 1] != head:
        found.append(f"event {seq} is not the one it was made over, {head}: the journal was rewritten")
    leaf = b"\0" + canonical.dump({"head": head, "run_id": run_id, "seq": seq})
    path = [bytes.fromhex(each[7:]) for each in value["path"]]
    root = root_of(hashlib.sha256(leaf).digest(), value["leaf"], said["heads"], path)
    if root is None or "sha256:" + root.hex() != said["root"]:
        found.append("the run's head is not among those that its root is over")
    return found


def _order(last: tuple[int, int], said: dict[str, Any], value: dict[str, Any]) -> list[str]:
    return [] if (said["anchor"] > last[0] and value["seq"] > last[1]) else ["it is not in order"]


def root_of(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that a leaf's path leads to; None when a tree of that size has no such path.

    RFC 9162, section 2.1.3.2 (the trees of RFC 6962).
    """
    if index >= size:
        return None
    at, last, node = index, size - 1, leaf
    for beside in path:
        if last == 0:
            return None
        if at & 1 or at == last:
            node = hashlib.sha256(b"\1" + beside + node).digest()
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            node = hashlib.sha256(b"\1" + node + beside).digest()
        at, last = at >> 1, last >> 1
    return node if last == 0 else None


def _is_key(text: object) -> bool:
    return isinstance(text, str) and _KEY_ID.fullmatch(text) is not None

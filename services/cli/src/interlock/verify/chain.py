"""The hash chain of one run's events."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any, Protocol

from interlock.verify import canonical

ZERO = "sha256:" + "0" * 64
"""`prev` of the first event."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_TYPE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
_NAMES_OF_PEOPLE = frozenset({"env", "labels", "metadata"})
_KEYS = {"v", "run_id", "seq", "prev", "at", "type", "step", "data"}


Seen = Callable[[int, dict[str, Any], str], None]
"""Told of each event that could be read: its place, itself, its digest."""


class Findings(Protocol):
    """Where problems go."""

    def add(self, line: int, where: str, message: str) -> None:
        """Note a problem."""
        ...


class Chain:
    """Takes events in order; `digests`, `head` and `wanted` (payload digest → first seq, and
    in `names` the field) are what it saw; `erased` what it says is gone (digest → seq)."""

    def __init__(self, findings: Findings) -> None:
        self.run_id = ""
        self.digests: list[str] = []
        self.wanted: dict[str, int] = {}
        self.names: dict[str, str] = {}
        self.erased: dict[str, int] = {}
        self.seen: Seen | None = None
        self._findings = findings

    @property
    def count(self) -> int:
        """How many events there were."""
        return len(self.digests)

    @property
    def head(self) -> str:
        """The digest of the last one."""
        return self.digests[-1] if self.digests else ZERO

    def event(self, line: int, data: bytes) -> None:
        """Check the next event's canonical bytes."""
        previous = self.head
        self.digests.append("sha256:" + hashlib.sha256(data).hexdigest())
        where = f"event {self.count}"
        try:
            event = canonical.parse(data)
        except canonical.NotCanonicalError as error:
            self._findings.add(line, where, f"its bytes are {error}")
            return
        for message in self._wrong(event, previous):
            self._findings.add(line, where, message)
        if isinstance(event, dict):
            self._collect(event.get("data"))
            if event.get("type") == "run.erased":
                self._erase(event.get("data"))
            if self.seen is not None:
                self.seen(self.count, event, self.head)

    def _wrong(self, event: Any, previous: str) -> list[str]:
        if not isinstance(event, dict) or set(event) != _KEYS:
            return ["it does not have the fields of an event"]
        found = []
        if event["v"] != 1 or isinstance(event["v"], bool):
            found.append(f"event version {event['v']!r} is not known here; 1 is")
        if event["run_id"] != self.run_id:
            found.append(f"it belongs to {event['run_id']!r}, not to {self.run_id!r}")
        if event["seq"] != self.count or isinstance(event["seq"], bool):
            found.append(f"its seq is {event['seq']!r}: an event was removed, added or moved")
        if event["prev"] != previous:
            found.append("its prev is not the digest of the event before: that one was changed or replaced")
        return found + _malformed(event)

    def _erase(self, data: Any) -> None:
        named = data.get("erased") if isinstance(data, dict) else None
        for digest in named if isinstance(named, list) else ():
            if is_digest(digest):
                self.erased.setdefault(digest, self.count)

    def _collect(self, value: Any) -> None:
        """Digests under keys that end in `_payload`, at any depth, but not under names that people chose."""
        if isinstance(value, list):
            for item in value:
                self._collect(item)
        elif isinstance(value, dict):
            for key, item in value.items():
                if key.endswith("_payload") and is_digest(item):
                    self.wanted.setdefault(item, self.count)
                    self.names.setdefault(item, key.removesuffix("_payload"))
                elif key not in _NAMES_OF_PEOPLE:
                    self._collect(item)


def is_digest(value: object) -> bool:
    """Whether it is text of the form `sha256:<64 lower-case hex>`."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def _malformed(event: dict[str, Any]) -> list[str]:
    found = []
    if not (isinstance(event["at"], str) and _TIME.fullmatch(event["at"])):
        found.append("its time is malformed")
    if not (isinstance(event["type"], str) and _TYPE.fullmatch(event["type"])):
        found.append("its type is malformed")
    if not isinstance(event["step"], int) or isinstance(event["step"], bool) or event["step"] < 0:
        found.append("its step is malformed")
    if not isinstance(event["data"], dict):
        found.append("its data is not an object")
    return found

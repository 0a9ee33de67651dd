"""Reads a journal bundle line by line and names everything that is wrong with it.

The format is docs/journal-format.md, versions 1 and 2: a header, the events in order, the payloads in the order in
which events first refer to them, anchors and a signature where the journal has them, an end line. There is exactly one
way to write a given journal down.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from interlock.verify.chain import Chain, Seen, is_digest
from interlock.verify.heads import Head, about, wrong
from interlock.verify.lines import compact, from_base64, kind
from interlock.verify.link import Facts, broken, incomplete
from interlock.verify.report import Problem, Report
from interlock.verify.signed import ANCHOR, SIGNATURE, Keys, Signed

MAX_LINE_BYTES = 256 * 1024 * 1024
"""Longest line read."""

_HEADER = ["bundle", "version", "run_id", "events", "head"]
_EVENT, _PAYLOAD, _ERASED = ["event"], ["payload", "media_type", "data"], ["erased", "event"]
_ENDS = {1: ["end", "lines"], 2: ["end", "lines", "digest"]}

MEDIA_TYPES = frozenset(
    {
        "application/json",
        "application/octet-stream",
        "application/protobuf; type=interlock.v1.Effect",
        "application/protobuf; type=interlock.v1.PolicyInputs",
        "text/plain; charset=utf-8",
    }
)
"""The labels a payload may carry. No hash covers them, so another one is refused instead of believed."""


def verify_file(
    path: str | Path,
    head: str = "",
    parents: Sequence[str | Path] = (),
    heads: Sequence[Head] = (),
    keys: Keys | None = None,
) -> Report:
    """Verify a bundle file, and with the files of its parents (its own first) where it comes from.

    Raises OSError when one cannot be read.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(open(each, "rb")) for each in (path, *parents)]
        child, *others = [_lines_of(file) for file in files]
        return verify_family(child, others, head, heads, keys)


def _lines_of(file: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: file.readline(MAX_LINE_BYTES), b"")


def verify_family(
    child: Iterable[bytes],
    parents: Sequence[Iterable[bytes]],
    head: str = "",
    heads: Sequence[Head] = (),
    keys: Keys | None = None,
) -> Report:
    """Verify the bundle of a fork with those of the runs it comes from, in order: its parent first.

    Of `heads`, those that name a run are compared with its bundle, the others with the fork's.

    Findings in a parent's bundle, and in what the fork says of it, are findings of the whole.
    """
    facts = Facts()
    report = verify_bundle(child, head, seen=facts, heads=heads, keys=keys)
    if not report.run_id:
        return report  # not a bundle: nothing can be compared with it
    here = facts
    for lines in parents:
        origin = here.origin
        until, beyond = Facts(origin.seq if origin else 0), Facts()

        def both(
            seq: int, event: dict[str, Any], digest: str, until: Facts = until, beyond: Facts = beyond
        ) -> None:
            until(seq, event, digest)
            beyond(seq, event, digest)

        parent = verify_bundle(lines, seen=both, heads=[each for each in heads if each.run_id], keys=keys)
        report.noted += parent.noted
        for problem in parent.problems:
            report.add(problem.line, f"{parent.run_id or 'parent'} {problem.where}", problem.message)
        for message in broken(here, until, parent.run_id):
            report.add(0, "fork", message)
        report.linked.append(parent.run_id)
        here = beyond
    return report


def verify_bundle(
    lines: Iterable[bytes],
    head: str = "",
    *,
    seen: Seen | None = None,
    heads: Sequence[Head] = (),
    keys: Keys | None = None,
) -> Report:
    """Verify the lines of a bundle, each with its newline.

    Args:
        lines: the bundle, split after every newline.
        head: digest of the last event as known from elsewhere; empty = trust the one in the header. Without
            it a bundle proves that it is whole, not that it is the one somebody saw before.
        seen: told of each event that could be read.
        heads: what digests of events are known from elsewhere.
        keys: the public keys of whoever signs; then every signature is checked, and the head must have one.
    """
    reader = _Reader(seen, [*heads, Head(head)] if head else heads)
    for number, raw in enumerate(lines, 1):
        reader.line(number, raw)
        if reader.report.foreign:
            break  # whatever else could be said of the file only hides that
    reader.finish(keys)
    return reader.report


class _Reader:
    """Takes lines in order and checks each against what came before."""

    def __init__(self, seen: Seen | None = None, heads: Sequence[Head] = ()) -> None:
        self.report = Report()
        self._chain = Chain(self.report)
        self._facts = Facts()
        self._seen = seen
        self._heads = heads
        self._signed = Signed(self.report)
        self._before = hashlib.sha256()
        self._chain.seen = self._note
        self._header: dict[str, Any] = {}
        self._payloads: dict[str, None] = {}
        self._lines = 0
        self._ended = False
        self._version = 1
        self._digest = self._before

    def line(self, number: int, raw: bytes) -> None:
        self._lines = number
        self._digest = self._before.copy()
        self._before.update(raw)
        value = self._value(number, raw)
        if self._ended:
            self.report.add(number, "bundle", "there is something after the end line")
        elif number == 1:
            self._read_header(value, raw)
        elif value is not None:
            self._read_record(number, value)

    def finish(self, keys: Keys | None) -> None:
        report, chain = self.report, self._chain
        if not self._lines:
            report.foreign = "empty"
            report.add(0, "bundle", "the file is empty")
            return
        if report.foreign:
            report.problems[:] = [
                Problem(1, "header", "this is not an Interlock journal bundle, or its first line was changed")
            ]
            return
        if not self._ended:
            report.add(self._lines, "bundle", "the end line is missing: the file was cut")
        if self._header and self._header.get("events") != chain.count:
            report.add(1, "header", f"says {self._header.get('events')} events; there are {chain.count}")
        if self._header and self._header.get("head") != chain.head:
            report.add(1, "header", f"its head is not the digest of the last event, {chain.head}")
        noted = about(report.run_id, self._heads)
        for message in wrong(noted, chain.digests, chain.head):
            report.add(0, "bundle", message)
        self._signed.finish(report.run_id, chain.digests, chain.head, keys)
        for digest, seq in chain.wanted.items():
            if digest not in self._payloads:
                report.add(0, f"event {seq}", f"refers to the payload {digest}, which is missing")
        if sorted(self._payloads) == sorted(chain.wanted) and list(self._payloads) != list(chain.wanted):
            report.add(0, "bundle", "the payloads are not in the order in which events refer to them")
        for message in incomplete(self._facts):
            report.add(0, "fork", message)
        report.origin, report.noted = self._facts.origin, sum(map(len, noted.values()))
        report.events, report.payloads, report.head = chain.count, len(self._payloads), chain.head

    def _note(self, seq: int, event: dict[str, Any], digest: str) -> None:
        if seq == 1 or event.get("type") == "run.steps_inherited":
            self._facts(seq, event, digest)
        if self._seen is not None:
            self._seen(seq, event, digest)

    def _value(self, number: int, raw: bytes) -> dict[str, Any] | None:
        if not raw.endswith(b"\n"):
            self.report.add(
                number, "bundle", "the line does not end with a newline: it was cut or is too long"
            )
            return None
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError):
            self.report.add(number, "bundle", "the line is not JSON")
            return None
        # Keys keep their order, so this also refuses other orders, spaces, escapes and doubled keys.
        if not isinstance(value, dict) or compact(value) != raw[:-1]:
            self.report.add(number, "bundle", "the line is not an object in the one form it may have")
            return None
        return value

    def _read_header(self, value: dict[str, Any] | None, raw: bytes) -> None:
        if value is None or list(value) != _HEADER or value["bundle"] != "interlock-journal":
            self.report.foreign = kind(raw)
            return
        if value["version"] not in (1, 2) or isinstance(value["version"], bool):
            self.report.add(
                1, "header", f"bundle version {value['version']!r} is not known here; 1 and 2 are"
            )
        self._version = 2 if value["version"] == 2 else 1
        if not isinstance(value["run_id"], str) or not is_digest(value["head"]):
            self.report.add(1, "header", "its run id or head is malformed")
        self._header = value
        self.report.run_id = self._chain.run_id = str(value["run_id"])

    def _read_record(self, number: int, value: dict[str, Any]) -> None:
        keys = list(value)
        if keys == _EVENT:
            self._read_event(number, value["event"])
        elif keys == _PAYLOAD:
            self._read_payload(number, value)
        elif self._version == 2 and keys == _ERASED:
            self._read_erased(number, value)
        elif self._version == 2 and keys in (ANCHOR, SIGNATURE):
            self._signed.read(number, value)
        elif keys == _ENDS[self._version]:
            self._read_end(number, value)
        else:
            self.report.add(number, "bundle", "the line is neither an event, nor a payload, nor the end")

    def _read_event(self, number: int, text: object) -> None:
        if self._payloads or self._signed.begun:
            self.report.add(number, "bundle", "an event stands after a payload or a signature")
        data = from_base64(text)
        if data is None:
            self.report.add(number, f"event {self._chain.count + 1}", "its base64 is malformed")
            return
        self._chain.event(number, data)

    def _read_erased(self, number: int, value: dict[str, Any]) -> None:
        """A payload that is not there any more; the event that it names has to say so."""
        digest, by = value["erased"], value["event"]
        where = f"payload {digest}"[:100]
        if not self._named(number, where, digest):
            return
        if isinstance(by, bool) or self._chain.erased.get(digest) != by:
            self.report.add(number, where, f"event {by!r} does not say that it was erased")
        first, name = self._chain.wanted.get(digest, 0), self._chain.names.get(digest, "")
        self.report.erased.append(f"{name} of event {first}, erased by event {by}")
        self._payloads[digest] = None

    def _named(self, number: int, where: str, digest: object) -> bool:
        """Whether the digest of a payload is one; what is wrong with its place is noted."""
        if self._signed.begun:
            self.report.add(number, "bundle", "a payload stands after a signature")
        if not is_digest(digest):
            self.report.add(number, where, "its name is not a digest")
            return False
        if digest in self._payloads:
            self.report.add(number, where, "it is there twice")
        if digest not in self._chain.wanted:
            self.report.add(number, where, "no event refers to it")
        return True

    def _read_payload(self, number: int, value: dict[str, Any]) -> None:
        digest = value["payload"]
        where = f"payload {digest}"[:100]
        if not self._named(number, where, digest):
            return
        if digest in self._chain.erased:
            self.report.add(number, where, f"event {self._chain.erased[digest]} says that it was erased")
        if not isinstance(value["media_type"], str) or value["media_type"] not in MEDIA_TYPES:
            self.report.add(number, where, f"its media type {value['media_type']!r} is not known")
        data = from_base64(value["data"])
        if data is None or "sha256:" + hashlib.sha256(data).hexdigest() != digest:
            self.report.add(number, where, "its content is not what its digest names")
        self._payloads[digest] = None

    def _read_end(self, number: int, value: dict[str, Any]) -> None:
        self._ended = True
        if value["end"] is not True or value["lines"] != number or isinstance(value["lines"], bool):
            self.report.add(number, "end", f"says {value['lines']!r} lines; this is line {number}")
        if self._version == 2 and value["digest"] != "sha256:" + self._digest.hexdigest():
            self.report.add(number, "end", "its digest is not that of the lines before it: one was changed")

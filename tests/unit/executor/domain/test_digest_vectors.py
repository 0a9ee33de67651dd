"""The vectors in docs/vectors are what the code makes, do not change by accident, and hold in another language."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[4]
FILE = ROOT / "docs/vectors/effect-digest.json"
VECTORS: dict[str, dict[str, Any]] = {v["name"]: v for v in json.loads(FILE.read_text())["vectors"]}
NODE = shutil.which("node")

FROZEN = {
    15: "8cf7587e2ca9d4943e5dad478b34c9fc44d336713d12ba6926e6a62af266c199",
    17: "febd28f1dc5cadd9866c466f82d683bb5587f0ddd002e050f0dc58cec419a858",
    18: "e71dd2608ab4bd46cb4c79055dadb78fac8550a8b01dc7cb27f3a418ccc7a331",
}
"""Over every digest of the first so many vectors of version 1, in order. New vectors are added at the end; a change of
what is here means that approvals given before are worth nothing."""


def test_they_are_what_the_code_makes() -> None:
    made = subprocess.run(
        [sys.executable, "scripts/effect_vectors.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (made.returncode, made.stderr) == (0, "")


@pytest.mark.parametrize("count", FROZEN)
def test_version_1_is_frozen(count: int) -> None:
    first = list(VECTORS.values())[:count]
    digests = [v[part]["digest"] for v in first for part in ("request", "effect") if part in v]
    assert hashlib.sha256("\n".join(digests).encode()).hexdigest() == FROZEN[count]


def test_every_vector_is_frozen() -> None:
    assert len(VECTORS) == max(FROZEN)


def test_a_command_with_network_binds_the_hosts_and_the_rules() -> None:
    document = VECTORS["command with network and the rules of it"]["request"]["document"]
    assert document["input"]["network"] == ["*.example.com:443", "[2001:db8::1]:80", "a.test:443"]
    assert document["sandbox"]["network"] == {
        "mode": "allowlist",
        "ranges": ["10.1.0.0/16", "fd00::/8"],
        "addresses": {"a.test": "10.1.0.1"},
        "connections": 8,
        "traffic_bytes": 1 << 20,
    }


def test_they_cover_every_kind_gate_and_ending() -> None:
    kinds = {v["request"]["document"]["kind"] for v in VECTORS.values()}
    assert kinds == {"read_file", "edit_file", "run_command"}
    assert {v["gate"] for v in VECTORS.values()} == {"none", "command", "effect", "both"}
    effects = [v["effect"]["document"] for v in VECTORS.values() if "effect" in v]
    assert any(e["signal"] for e in effects)
    assert {e["failure"] for e in effects} >= {"", "COMMAND_FAILED", "COMMAND_TIMED_OUT"}
    assert {None, 0, 2, 7} <= {e["exit_code"] for e in effects}


@pytest.mark.parametrize("name", VECTORS)
def test_by_hand(name: str) -> None:
    """Without the code: the domain line and the canonical bytes that stand in the file."""
    for part in ("request", "effect"):
        sealed = VECTORS[name].get(part)
        if sealed is None:
            continue
        assert json.loads(sealed["canonical"]) == sealed["document"]
        found = hashlib.sha256(f"{sealed['domain']}\n{sealed['canonical']}".encode()).hexdigest()
        assert sealed["digest"] == "sha256:" + found
        assert sealed["domain"] == f"interlock.executor.{part}.v1"


def node(path: Path) -> subprocess.CompletedProcess[str]:
    assert NODE is not None
    program = ROOT / "tests/support/effect_digest.mjs"
    return subprocess.run(
        [NODE, str(program), str(path)], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.skipif(NODE is None, reason="Node.js is not installed")
def test_another_language_finds_the_same() -> None:
    made = node(FILE)
    assert (made.returncode, made.stdout, made.stderr) == (0, "", "")


@pytest.mark.skipif(NODE is None, reason="Node.js is not installed")
@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (("request", "document", "step"), 3, ["canonical", "digest"]),
        (("request", "digest"), "sha256:" + "2" * 64, ["digest", "the request of the effect"]),
        (("effect", "document", "exit_code"), None, ["canonical", "digest"]),
        (("effect", "document", "streams", "stdout", "bytes"), 4, ["canonical", "digest", "stdout bytes"]),
        (("texts", "effect.streams.stdout"), "AAAA", ["stdout digest"]),
        (("request", "domain"), "interlock.executor.request.v2", ["domain"]),
    ],
)
def test_another_language_sees_every_change(
    tmp_path: Path, place: tuple[str, ...], value: Any, told: list[str]
) -> None:
    vector = json.loads(json.dumps(VECTORS["command and its effect"]))
    at = vector
    for key in place[:-1]:
        at = at[key]
    assert at[place[-1]] != value
    at[place[-1]] = value
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps({"vectors": [vector]}))
    made = node(changed)
    assert made.returncode >= len(told)
    for what in told:
        assert what in made.stdout

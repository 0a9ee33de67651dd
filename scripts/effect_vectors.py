"""Writes docs/vectors/effect-digest.json from the code: `effect_vectors.py [--check]`.

The vectors are documents, their canonical bytes and their digests, for programs in other languages to be checked
against. With `--check` nothing changes, and the exit code is 1 when something would.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from interlock.common.digests import canonical_json, sha256_text
from interlock.executor.domain import digest as d
from interlock.executor.domain.limits import DEFAULT_LIMITS
from interlock.executor.domain.model import EditFile, EffectKey, ReadFile, RunCommand, StepRequest
from interlock.executor.sandbox.network.config import ENVIRONMENT, NetworkConfig
from interlock.executor.sandbox.network.rules import Bounds

PAGE = Path(__file__).resolve().parents[1] / "docs/vectors/effect-digest.json"
BASE, RESULT = "sha256:" + "0" * 64, "sha256:" + "1" * 64
KEY = EffectKey("run-01jd9x5m7qv4s2k8t6w3y1z0ab", 2, 1)
WORKSPACE = "ws-01jd9x5m7qv4s2k8t6w3y1z0ab"
PATCH = b"--- a/b.txt\n+++ b/b.txt\n@@ -1 +1 @@\n-hello\n+hello, world\n"
NOTES = (
    "A document's canonical form is RFC 8785: keys in the order of their UTF-16 code units, no spaces, no floats. "
    "A digest is SHA-256 of the domain, a line feed (0x0a) and the canonical bytes. A `command` gate binds the "
    "request digest, an `effect` gate the effect digest, a `both` gate first the one and then the other. "
    "`analyze` and `summarize` steps change nothing and have neither. `texts` are the bytes (base64) of which a "
    "document holds only length and digest, by the place of that digest."
)


@dataclasses.dataclass(frozen=True)
class Case:
    """One request and what came of it; without a result tree nothing ran. `gate`: where such a step waits."""

    name: str
    gate: str
    request: StepRequest
    around: d.Surroundings = dataclasses.field(default_factory=d.Surroundings)
    result_tree: str = ""
    exit_code: int | None = None
    signal: int = 0
    streams: dict[str, bytes] = dataclasses.field(default_factory=dict)
    failure: str = ""


def _command(action: RunCommand, **limits: int) -> StepRequest:
    return StepRequest(KEY, WORKSPACE, action, dataclasses.replace(DEFAULT_LIMITS, **limits))


def _around(*argv: str, **environment: str) -> d.Surroundings:
    policy: dict[str, Any] = {
        "backend": "bubblewrap",
        "enforcement": "cgroup v2",
        "filter": sha256_text(b"a system call filter"),
        "network": "none",
        "system": "host:/usr",
        "mounts": [],
    }
    return d.Surroundings(argv, {"HOME": "/home/step", "LANG": "C.UTF-8", **environment}, policy)


def _networked(command: str, rules: NetworkConfig) -> d.Surroundings:
    around = _around("/bin/sh", "-c", command, **ENVIRONMENT)
    return dataclasses.replace(around, sandbox={**(around.sandbox or {}), "network": rules.policy()})


def cases() -> Iterator[Case]:
    """Every kind of step that has digests, every gate, every way to end."""
    yield Case(
        "read lines of a file", "none", StepRequest(KEY, WORKSPACE, ReadFile("a.txt", 1, 3), None),
        result_tree=BASE, streams={"content": b"one\ntwo\nthree\n"},
    )  # fmt: skip
    yield Case(
        "edit by content", "effect",
        StepRequest(KEY, WORKSPACE, EditFile("b.txt", new_content=b"hello\n"), None), result_tree=RESULT,
    )  # fmt: skip
    yield Case(
        "edit by patch", "effect", StepRequest(KEY, WORKSPACE, EditFile("b.txt", patch=PATCH), None),
        result_tree=RESULT,
    )  # fmt: skip
    yield Case(
        "edit that fails", "effect", StepRequest(KEY, WORKSPACE, EditFile("b.txt", patch=PATCH), None),
        result_tree=BASE, failure="PATCH_DOES_NOT_APPLY",
    )  # fmt: skip
    yield Case(
        "edit to nothing", "effect", StepRequest(KEY, WORKSPACE, EditFile("b", new_content=b""), None),
        result_tree=RESULT,
    )  # fmt: skip
    line = RunCommand(command="make test")
    yield Case("command before it runs", "command", _command(line), _around("/bin/sh", "-c", "make test"))
    yield Case(
        "command and its effect", "both", _command(line), _around("/bin/sh", "-c", "make test"),
        result_tree=RESULT, exit_code=0, streams={"stdout": b"ok\n", "stderr": b""},
    )  # fmt: skip
    full = RunCommand(
        argv=("git", "commit", "-m", "two\nlines"), working_dir="src/lib", env={"A": "1", "B": ""},
        allowed_exit_codes=(7, 1, 7),
    )  # fmt: skip
    yield Case(
        "argument vector with options, an allowed exit code", "effect",
        _command(full, wall_us=30_000_000, memory_bytes=20 << 30),
        _around("git", "commit", "-m", "two\nlines", A="1", B=""),
        result_tree=RESULT, exit_code=7, streams={"stdout": b"\x00\xff\xfe binary\n", "stderr": b"warning\n"},
    )  # fmt: skip
    yield Case(
        "command with network", "command",
        _command(RunCommand(command="curl example.com", network=("example.com:443",))),
        _around("/bin/sh", "-c", "curl example.com"),
    )  # fmt: skip
    yield Case(
        "command that failed", "effect", _command(line), _around("/bin/sh", "-c", "make test"),
        result_tree=RESULT, exit_code=2, streams={"stdout": b"", "stderr": b"no\n"}, failure="COMMAND_FAILED",
    )  # fmt: skip
    yield Case(
        "command ended by a signal", "effect", _command(line), _around("/bin/sh", "-c", "make test"),
        result_tree=BASE, signal=9, streams={"stdout": b"", "stderr": b""}, failure="COMMAND_FAILED",
    )  # fmt: skip
    yield Case(
        "command out of time", "effect", _command(line, wall_us=1000), _around("/bin/sh", "-c", "make test"),
        result_tree=BASE, streams={"stdout": b"", "stderr": b""}, failure="COMMAND_TIMED_OUT",
    )  # fmt: skip
    odd = 'dir with space/-rf/new\nline/tab\t"quote"\\back/\u00e9/\u4e16/\U0001f600/\u2028/\x01\x7f'
    yield Case(
        "a name with everything in it", "effect",
        StepRequest(KEY, WORKSPACE, EditFile(odd, new_content="é\r\n".encode()), None), result_tree=RESULT,
    )  # fmt: skip
    yield Case(
        "a name that is not UTF-8", "none",
        StepRequest(KEY, WORKSPACE, ReadFile(b"caf\xe9\xff".decode("utf-8", "surrogateescape")), None),
        result_tree=BASE, failure="PATH_NOT_FOUND",
    )  # fmt: skip
    yield Case(
        "keys whose order differs between UTF-8 and UTF-16", "command",
        _command(RunCommand(command="env")),
        _around("/bin/sh", "-c", "env", **{"\ufb33": "1", "\U0001f600": "2", "\u00f6": "3", "z": "4", "Z": "5"}),
    )  # fmt: skip
    asked = RunCommand(command="make fetch", network=("*.example.com:443", "[2001:db8::1]:80", "a.test:443"))
    rules = NetworkConfig(
        on=True, ranges=("10.1.0.0/16", "fd00::/8"), addresses=(("a.test", "10.1.0.1"),),
        bounds=Bounds(connections=8, traffic_bytes=1 << 20),
    )  # fmt: skip
    yield Case(
        "command with network and the rules of it", "command", _command(asked),
        _networked("make fetch", rules),
    )  # fmt: skip
    yield Case(
        "command with network that ran", "command", _command(asked),
        _networked("make fetch", NetworkConfig(on=True)),
        result_tree=RESULT, exit_code=0, streams={"stdout": b"got it\n", "stderr": b""},
    )  # fmt: skip
    ruled = dataclasses.replace(_command(line), policy="sha256:" + "2" * 64)
    yield Case("command that a policy decided about", "command", ruled, _around("/bin/sh", "-c", "make test"))


def vector(case: Case) -> dict[str, Any]:
    """A case with everything that another program should find."""
    asked = d.request_document(case.request, BASE, case.around)
    out: dict[str, Any] = {
        "name": case.name,
        "gate": case.gate,
        "request": _sealed(d.REQUEST_DOMAIN, asked, d.request_digest(asked)),
        "texts": _texts(case),
    }
    if case.result_tree:
        effect = d.effect_document(
            d.request_digest(asked),
            result_tree=case.result_tree,
            exit_code=case.exit_code,
            signal=case.signal,
            streams={
                name: d.StreamFacts(sha256_text(data), len(data)) for name, data in case.streams.items()
            },
            failure=case.failure,
        )
        out["effect"] = _sealed(d.EFFECT_DOMAIN, effect, d.effect_digest(effect))
    return out


def _sealed(domain: str, document: d.Document, digest: str) -> dict[str, Any]:
    return {
        "domain": domain,
        "document": document,
        "canonical": canonical_json(document).decode(),
        "digest": digest,
    }


def _texts(case: Case) -> dict[str, str]:
    action = case.request.action
    given = {
        f"request.input.{name}": value
        for name in ("new_content", "patch")
        if (value := getattr(action, name, None)) is not None
    }
    shown = {f"effect.streams.{name}": data for name, data in case.streams.items()}
    return {name: base64.b64encode(data).decode() for name, data in {**given, **shown}.items()}


def render() -> str:
    """The whole file."""
    found = {"format": "interlock.effect-digest.v1", "notes": NOTES, "vectors": [vector(c) for c in cases()]}
    return json.dumps(found, indent=1, ensure_ascii=True) + "\n"


def main() -> int:
    known = PAGE.read_text() if PAGE.exists() else ""
    if known == render():
        return 0
    if "--check" in sys.argv:
        print(f"{PAGE} is not what the code makes: run `make docs`", file=sys.stderr)
        return 1
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(render())
    return 0


if __name__ == "__main__":
    sys.exit(main())

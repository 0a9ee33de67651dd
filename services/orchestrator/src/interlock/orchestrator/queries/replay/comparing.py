"""In what a step's effect differs from the recorded one, and how that is shown."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from interlock.orchestrator.domain.model import Failure, Prepared
from interlock.v1 import replay_pb2, step_pb2

OUTPUTS = ("stdout", "stderr", "content")
_SHOWN_BYTES = 64 * 1024


def differences(
    known: Prepared,
    failed: Failure | None,
    recorded: step_pb2.Effect | None,
    replayed: step_pb2.Effect,
    failure: step_pb2.StepFailure | None,
) -> list[replay_pb2.ReplayDifference]:
    """Everything that differs; outputs by their digests. `recorded` is None where the outputs were erased."""
    pairs = [
        ("failure", failed.reason if failed else "", failure.reason if failure else ""),
        ("exit_code", _code(known.exit_code), _code(_exit_code(replayed))),
    ]
    if failed is None and failure is None:
        pairs.append(("result_tree", known.result_tree, replayed.result_tree))
    if recorded is not None:
        pairs.append(("signal", str(recorded.signal), str(replayed.signal)))
        pairs += [(name, getattr(recorded, name).digest, getattr(replayed, name).digest) for name in OUTPUTS]
    return [
        replay_pb2.ReplayDifference(field=field, recorded=a, replayed=b) for field, a, b in pairs if a != b
    ]


def output_diff(recorded: step_pb2.Effect, replayed: step_pb2.Effect, fields: list[str]) -> str:
    """Unified diffs of those outputs that differ, as far as their bytes are kept."""
    return "".join(
        line
        for name in OUTPUTS
        if name in fields
        for line in _unified(name, _text(getattr(recorded, name)), _text(getattr(replayed, name)))
    )


def _unified(name: str, recorded: list[str], replayed: list[str]) -> Iterator[str]:
    for line in difflib.unified_diff(recorded, replayed, f"recorded/{name}", f"replayed/{name}"):
        yield line if line.endswith("\n") else line + "\n\\ No newline at end\n"


def _text(output: step_pb2.Output) -> list[str]:
    gap = b"\n[... output cut ...]\n" if output.truncated else b""
    shown = (output.head + gap + output.tail)[:_SHOWN_BYTES]
    return shown.decode(errors="replace").splitlines(keepends=True)


def _exit_code(effect: step_pb2.Effect) -> int | None:
    return effect.exit_code if effect.HasField("exit_code") else None


def _code(code: int | None) -> str:
    return "" if code is None else str(code)

"""To the wire: effects, limits, outputs."""

from __future__ import annotations

from collections.abc import Mapping

from interlock.common.clock import rfc3339
from interlock.executor.commands.propose import Proposal
from interlock.executor.convert.network import network_report
from interlock.executor.convert.text import duration, timestamp, wire
from interlock.executor.domain.limits import Limits
from interlock.executor.domain.model import EffectKey, EffectState, Failure
from interlock.executor.effects.hub import Piece
from interlock.executor.effects.store import Record
from interlock.executor.sandbox.base import StreamOutput, TierReport, Usage
from interlock.executor.snapshots.diff import Diff, FileDiff
from interlock.executor.snapshots.model import DIRECTORY, FILE, SYMLINK
from interlock.executor.steps.base import Outcome
from interlock.v1 import executor_pb2, step_pb2

_MOST_CHANGES = 1000
_MOST_MESSAGE = 2000
_CUT = b"interlock: the rest of the difference is left out\n"
SAME_NAMES = (
    "memory_bytes",
    "processes",
    "open_files",
    "file_bytes",
    "written_bytes",
    "written_files",
    "output_bytes",
    "kept_bytes",
)
"""Limits that have the same name, and are numbers, on the wire."""

_STATES = {
    EffectState.PREPARING: executor_pb2.EFFECT_STATE_PREPARING,
    EffectState.PREPARED: executor_pb2.EFFECT_STATE_PREPARED,
    EffectState.FAILED: executor_pb2.EFFECT_STATE_FAILED,
    EffectState.APPLYING: executor_pb2.EFFECT_STATE_PREPARED,
    EffectState.APPLIED: executor_pb2.EFFECT_STATE_APPLIED,
    EffectState.DISCARDED: executor_pb2.EFFECT_STATE_DISCARDED,
}
_STREAMS = {"stdout": step_pb2.OUTPUT_STREAM_STDOUT, "stderr": step_pb2.OUTPUT_STREAM_STDERR}
_CHANGES = {
    "added": step_pb2.CHANGE_KIND_ADDED,
    "modified": step_pb2.CHANGE_KIND_MODIFIED,
    "deleted": step_pb2.CHANGE_KIND_DELETED,
    "mode": step_pb2.CHANGE_KIND_MODE_CHANGED,
    "renamed": step_pb2.CHANGE_KIND_RENAMED,
}
_TYPES = {
    "": step_pb2.ENTRY_TYPE_UNSPECIFIED,
    FILE: step_pb2.ENTRY_TYPE_FILE,
    DIRECTORY: step_pb2.ENTRY_TYPE_DIRECTORY,
    SYMLINK: step_pb2.ENTRY_TYPE_SYMLINK,
}


def state(record: Record) -> executor_pb2.EffectState.ValueType:
    """Where an effect is; the moment of publication counts as before it."""
    return _STATES[record.state]


def prepared_payload(
    outcome: Outcome, request_digest: str, effect_digest: str, limits: Limits | None
) -> bytes:
    """The answer to Prepare, to be kept and sent."""
    effect = step_pb2.Effect(
        base_tree=outcome.base_tree,
        result_tree=outcome.result_tree,
        argv=[wire(item) for item in outcome.argv],
        sandbox=sandbox(outcome.sandbox),
        signal=outcome.signal,
        exit_code=outcome.exit_code,
        request_digest=request_digest,
        effect_digest=effect_digest,
        read_path=wire(outcome.read_path),
    )
    for name, stream in outcome.streams.items():
        getattr(effect, name).CopyFrom(output(stream))
    if outcome.diff is not None:
        _add_diff(effect, outcome.diff)
    if outcome.usage is not None:
        effect.usage.CopyFrom(_usage(outcome.usage))
    if outcome.network is not None:
        effect.network.CopyFrom(network_report(outcome.network))
    answer = executor_pb2.PrepareResponse(effect=effect)
    answer.state = executor_pb2.EFFECT_STATE_FAILED if outcome.failure else executor_pb2.EFFECT_STATE_PREPARED
    if outcome.failure is not None:
        answer.failure.CopyFrom(_failure(outcome.failure))
    if limits is not None:
        answer.limits.CopyFrom(limits_message(limits))
    return answer.SerializeToString()


def prepare_response(record: Record) -> executor_pb2.PrepareResponse:
    """The recorded answer, with where the effect is now."""
    answer = executor_pb2.PrepareResponse.FromString(record.payload)
    answer.state = state(record)
    return answer


def effect_response(record: Record) -> executor_pb2.GetEffectResponse:
    """An effect as recorded."""
    kept = prepare_response(record)
    answer = executor_pb2.GetEffectResponse(state=kept.state, head_tree=record.head_tree)
    if kept.HasField("effect"):
        answer.effect.CopyFrom(kept.effect)
    if kept.HasField("failure"):
        answer.failure.CopyFrom(kept.failure)
    return answer


def propose_response(found: Proposal, limits: Limits | None) -> executor_pb2.ProposeResponse:
    """What would run."""
    effect = step_pb2.Effect(
        base_tree=found.base_tree,
        argv=[wire(item) for item in found.argv],
        sandbox=sandbox(found.sandbox),
        request_digest=found.request_digest,
    )
    return executor_pb2.ProposeResponse(effect=effect, limits=limits_message(limits) if limits else None)


def apply_response(record: Record) -> executor_pb2.ApplyResponse:
    """Where the workspace is after publication."""
    return executor_pb2.ApplyResponse(
        head_tree=record.head_tree,
        merged_drift=record.merged,
        applied_at=timestamp(record.applied_at),
        kept_paths=record.kept,
        kept_total=record.kept_count,
    )


def limits_message(limits: Limits) -> step_pb2.Limits:
    """Limits in force."""
    return limits_named({name: getattr(limits, name) for name in ("wall_us", "cpu_us", *SAME_NAMES)})


def limits_named(limits: Mapping[str, int]) -> step_pb2.Limits:
    """Some limits, by their names here."""
    message = step_pb2.Limits()
    for name in SAME_NAMES:
        if name in limits:
            setattr(message, name, limits[name])
    if "wall_us" in limits:
        message.wall.CopyFrom(duration(limits["wall_us"]))
    if "cpu_us" in limits:
        message.cpu.CopyFrom(duration(limits["cpu_us"]))
    return message


def sandbox(tier: TierReport) -> step_pb2.SandboxReport:
    """The sandbox in force."""
    return step_pb2.SandboxReport(backend=tier.backend, enforcement=tier.enforcement, fork=tier.fork)


def output(stream: StreamOutput) -> step_pb2.Output:
    """What was kept of a stream; a stream that was kept whole is all in `head`."""
    whole = not stream.omitted
    return step_pb2.Output(
        digest=stream.digest,
        total_bytes=stream.total,
        head=stream.head + stream.tail if whole else stream.head,
        tail=b"" if whole else stream.tail,
        truncated=not whole,
    )


def change(file: FileDiff) -> step_pb2.FileChange:
    """One changed path."""
    return step_pb2.FileChange(
        path=wire(file.path),
        kind=_CHANGES[file.kind],
        old_path=wire(file.old_path) if file.kind == "renamed" else "",
        old_mode=file.old_mode or 0,
        new_mode=file.new_mode or 0,
        old_size=file.old_size,
        new_size=file.new_size,
        binary=file.binary,
        old_type=_TYPES[file.old_type],
        new_type=_TYPES[file.new_type],
        new_target=wire(file.target),
        leads_out=file.leads_out,
    )


def diff_text(diff: Diff, most: int) -> tuple[str, bool]:
    """The text of a difference, at most so many bytes, cut at a line's end; and whether something is missing.

    What is cut here ends with a line that says so, as what the difference itself left out does.
    """
    text = diff.patch.decode("utf-8", "backslashreplace").encode()
    if len(text) <= most:
        return text.decode(), diff.truncated
    mark = _CUT if most >= len(_CUT) else b""
    kept = text[: text.rfind(b"\n", 0, most - len(mark)) + 1]
    return (kept + mark).decode(), True


def _add_diff(effect: step_pb2.Effect, diff: Diff) -> None:
    effect.changes.extend(change(file) for file in diff.files[:_MOST_CHANGES])
    effect.changes_total = diff.total
    effect.diff, effect.diff_truncated = diff_text(diff, 256 * 1024)


def _usage(usage: Usage) -> step_pb2.ResourceUsage:
    return step_pb2.ResourceUsage(
        wall=duration(usage.wall_us),
        user=duration(usage.user_us),
        system=duration(usage.system_us),
        max_rss_bytes=usage.max_rss_bytes,
    )


def _failure(failure: Failure) -> step_pb2.StepFailure:
    return step_pb2.StepFailure(
        reason=failure.reason,
        message=wire(failure.message)[:_MOST_MESSAGE],
        field=failure.field,
        fix=failure.fix,
        metadata={key: wire(value) for key, value in failure.metadata.items()},
    )


def kept_output(payload: bytes) -> dict[str, tuple[bytes, bytes, int]]:
    """Head, tail and total of each stream in a recorded answer."""
    effect = executor_pb2.PrepareResponse.FromString(payload).effect
    streams = {"stdout": effect.stdout, "stderr": effect.stderr}
    return {name: (item.head, item.tail, item.total_bytes) for name, item in streams.items()}


def output_response(key: EffectKey, piece: Piece | None) -> executor_pb2.StreamOutputResponse:
    """A piece of live output, or a heartbeat."""
    if piece is None:
        return executor_pb2.StreamOutputResponse()
    chunk = step_pb2.OutputChunk(
        run_id=key.run,
        step=key.step,
        attempt=key.attempt,
        stream=_STREAMS[piece.stream],
        offset=piece.offset,
        data=piece.data,
        at=timestamp(rfc3339(piece.at)),
    )
    return executor_pb2.StreamOutputResponse(chunk=chunk)

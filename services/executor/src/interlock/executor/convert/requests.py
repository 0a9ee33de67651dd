"""From the wire: keys, actions, limits, sources."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from interlock.common.digests import sha256_text
from interlock.common.errors import InterlockError, Reason
from interlock.executor.convert.effects import SAME_NAMES
from interlock.executor.domain.caller import Caller
from interlock.executor.domain.limits import DEFAULT_LIMITS, Limits, in_force
from interlock.executor.domain.model import (
    Action,
    EditFile,
    EffectKey,
    ReadFile,
    RunCommand,
    SecretUse,
    StepRequest,
)
from interlock.executor.sandbox.environment import check_limits
from interlock.executor.workspaces.git import without_credentials
from interlock.executor.workspaces.model import (
    AnySource,
    ArchiveSource,
    DirectorySource,
    GitSource,
    TreeSource,
)
from interlock.v1 import executor_pb2, step_pb2, workspace_pb2


def key_of(key: executor_pb2.EffectKey) -> EffectKey:
    """The effect's key."""
    return EffectKey(key.run_id, key.step, key.attempt)


def caller_of(
    message: executor_pb2.ProposeRequest
    | executor_pb2.PrepareRequest
    | executor_pb2.ApplyRequest
    | executor_pb2.DiscardRequest
    | executor_pb2.RestoreTreeRequest
    | executor_pb2.RevertTreeRequest,
) -> Caller:
    """Who calls. Secrets end here: what goes on are their digests."""
    owner = ""
    if isinstance(message, executor_pb2.PrepareRequest):
        owner = message.owner_key_digest
    elif isinstance(message, executor_pb2.ApplyRequest | executor_pb2.DiscardRequest):
        owner = _secret(message.owner_key)
    return Caller(message.epoch, _secret(message.driver_key), owner)


def _secret(key: bytes) -> str:
    return sha256_text(key) if key else ""


def step_request(
    message: executor_pb2.ProposeRequest | executor_pb2.PrepareRequest,
    defaults: Limits = DEFAULT_LIMITS,
    allowed: Mapping[str, int] | None = None,
) -> StepRequest:
    """What is to be computed, limits filled in; `allowed` are the workspace's. INVALID_ARGUMENT, LIMIT_TOO_HIGH."""
    action = action_of(message.action)
    limits = None
    if isinstance(action, RunCommand):
        limits = limits_of(message.limits, message.action.run_command, defaults, allowed or {})
    return StepRequest(key_of(message.key), message.workspace_id, action, limits, message.policy_digest)


def action_of(action: executor_pb2.Action) -> Action:
    """The kind and its input. Raises INVALID_ARGUMENT for an edit by instruction, STEP_KIND_UNKNOWN for none."""
    kind = action.WhichOneof("kind")
    if kind == "read_file":
        return ReadFile(action.read_file.path, action.read_file.start_line, action.read_file.end_line)
    if kind == "edit_file":
        return _edit(action.edit_file)
    if kind == "run_command":
        return _command(action.run_command)
    raise InterlockError(
        Reason.STEP_KIND_UNKNOWN, "The action names no kind that this executor knows.", field="action"
    )


def _edit(message: step_pb2.EditFileInput) -> EditFile:
    change = message.WhichOneof("change")
    if change == "new_content":
        return EditFile(message.path, new_content=message.new_content.encode())
    if change == "patch":
        return EditFile(message.path, patch=message.patch.encode())
    raise InterlockError(
        Reason.INVALID_ARGUMENT,
        "The executor takes an edit as content or as a patch.",
        field="action.edit_file.instruction",
        fix="Have the planner draft the content, then prepare the edit with `new_content`.",
    )


def _command(message: step_pb2.RunCommandInput) -> RunCommand:
    return RunCommand(
        command=message.command,
        argv=tuple(message.argv.items),
        working_dir=message.working_dir,
        env=dict(message.env),
        network=tuple(message.network),
        allowed_exit_codes=tuple(message.allowed_exit_codes),
        secrets=tuple(SecretUse(use.name, use.appears_as) for use in message.secrets),
    )


def limits_of(
    message: step_pb2.Limits,
    command: step_pb2.RunCommandInput,
    defaults: Limits,
    allowed: Mapping[str, int] | None = None,
) -> Limits:
    """Limits in force: the command's timeout, then what the message names, then the workspace's, then the defaults.

    Raises INVALID_ARGUMENT; LIMIT_TOO_HIGH for more than is `allowed`.
    """
    named = named_limits(message)
    if command.HasField("timeout"):
        timeout = command.timeout.ToMicroseconds()
        named["wall_us"] = min(timeout, named.get("wall_us", timeout))
    limits = in_force(defaults, allowed or {}, named)
    check_limits(limits)
    return limits


def workspace_limits(message: step_pb2.Limits) -> dict[str, int]:
    """What a workspace is to be created with. Raises INVALID_ARGUMENT."""
    named = named_limits(message)
    check_limits(dataclasses.replace(DEFAULT_LIMITS, **named))
    return named


def named_limits(message: step_pb2.Limits) -> dict[str, int]:
    """The limits that a message names, by their names here."""
    named = {name: getattr(message, name) for name in SAME_NAMES if getattr(message, name)}
    if message.HasField("wall"):
        named["wall_us"] = message.wall.ToMicroseconds()
    if message.HasField("cpu"):
        named["cpu_us"] = message.cpu.ToMicroseconds()
    return named


def source_of(message: workspace_pb2.WorkspaceSource) -> AnySource:
    """Where a workspace comes from."""
    which = message.WhichOneof("source")
    if which == "directory":
        return DirectorySource(_absolute(message.directory.path, "source.directory.path"))
    if which == "git":
        return GitSource(message.git.url, message.git.ref)
    if which == "tree":
        path = message.tree.path
        destination = _absolute(path, "source.tree.path") if path else None
        return TreeSource(message.tree.workspace_id, message.tree.tree, destination)
    return ArchiveSource(
        _absolute(message.archive.path, "source.archive.path"), message.archive.strip_components
    )


def shown_source(message: workspace_pb2.WorkspaceSource) -> bytes:
    """The source as it is kept and shown: without credentials."""
    kept = workspace_pb2.WorkspaceSource()
    kept.CopyFrom(message)
    if kept.WhichOneof("source") == "git":
        kept.git.url = without_credentials(kept.git.url)
    return kept.SerializeToString(deterministic=True)


def _absolute(path: str, field: str) -> Path:
    if not path.startswith("/") or "\0" in path:
        raise InterlockError(
            Reason.WORKSPACE_SOURCE_INVALID,
            f"{path[:200]!r} is not an absolute path on the executor's machine.",
            field=field,
            fix="Give the whole path, starting with `/`.",
        )
    return Path(path)

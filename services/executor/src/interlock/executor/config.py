"""The executor's configuration, from INTERLOCK_* variables."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from interlock.common import tls
from interlock.common.addresses import Address
from interlock.common.config import data_dir, env_float, env_int, executor_dir, load_token, service_address
from interlock.common.config import env_text as text
from interlock.common.postgres import postgres_dir
from interlock.executor.domain.limits import DEFAULT_LIMITS, MAXIMUM_LIMITS, MIB, SECOND, Limits
from interlock.executor.labels import admin_labels
from interlock.executor.sandbox.network.config import NetworkConfig
from interlock.executor.scope import Places, places_from_env
from interlock.executor.secrets.vault import Vault
from interlock.executor.snapshots.model import DEFAULT_LIMITS as DEFAULT_WORKSPACE_LIMITS
from interlock.executor.snapshots.model import Limits as WorkspaceLimits
from interlock.executor.workspaces.watches import DEFAULT_DIRECTORIES, default_directories


@dataclass(frozen=True)
class ExecutorConfig:
    """Everything the executor is told.

    Args:
        directory: INTERLOCK_EXECUTOR_DIR: workspaces, snapshots and records.
        address: INTERLOCK_EXECUTOR_ADDRESS, 127.0.0.1:7402 by default.
        orchestrator: INTERLOCK_ORCHESTRATOR_ADDRESS, which knows whose an issued token is.
        token: accepted bearer token.
        limits: defaults of steps: INTERLOCK_STEP_WALL_SECONDS, INTERLOCK_STEP_MEMORY_MIB, INTERLOCK_STEP_PROCESSES,
            INTERLOCK_STEP_WRITTEN_MIB, INTERLOCK_STEP_WRITTEN_FILES.
        commands: INTERLOCK_EXECUTOR_COMMANDS: commands that run at once; twice the processors by default.
        patience: INTERLOCK_PUBLISH_WAIT_SECONDS: how long a publication waits for running commands; 60 by default.
        retention_days: INTERLOCK_EFFECT_RETENTION_DAYS: how long the executor of itself remembers finished effects
            and earlier trees; 30 by default. An orchestrator says for its own workspaces what is kept.
        collect_grace_seconds: INTERLOCK_COLLECT_GRACE_SECONDS: nothing younger is collected; 3,600 by default, at
            least 60.
        store_max_bytes: INTERLOCK_EXECUTOR_STORE_MAX_BYTES: the most the snapshot store may take, at least 1 MiB;
            None, the default, is half the size of the file system that `directory` is on.
        workspace_limits: bounds on every workspace and every effect: INTERLOCK_WORKSPACE_MAX_FILES,
            INTERLOCK_WORKSPACE_MAX_MIB, INTERLOCK_WORKSPACE_MAX_FILE_MIB, INTERLOCK_WORKSPACE_MAX_DEPTH,
            INTERLOCK_EFFECT_MAX_FILES, INTERLOCK_EFFECT_MAX_MIB.
        watch_directories: INTERLOCK_WATCH_DIRECTORIES: directories of workspaces watched for changes at most, 0 for
            none; by default 65,536 or half of what the kernel allows. See interlock.executor.workspaces.watches.
        closed: the data directory, which holds the token, the embedded database's, and that of secrets: never part of
            a workspace.
        vault: the secrets that steps can name: INTERLOCK_SECRETS_DIR, INTERLOCK_SECRET_<NAME>. The latter are taken
            out of the process's environment.
        network: where commands may go: INTERLOCK_NETWORK and more, see interlock.executor.sandbox.network.config.
        places: INTERLOCK_SCOPE_DIRECTORIES: where callers who are limited to labels may have workspaces.
        admin_labels: INTERLOCK_ADMIN_LABELS: keys of labels that only an admin may give a workspace.
    """

    directory: Path
    address: Address
    orchestrator: Address
    token: str
    limits: Limits = DEFAULT_LIMITS
    commands: int = 4
    patience: float = 60.0
    retention_days: int = 30
    collect_grace_seconds: int = 3600
    store_max_bytes: int | None = None
    workspace_limits: WorkspaceLimits = DEFAULT_WORKSPACE_LIMITS
    watch_directories: int = DEFAULT_DIRECTORIES
    closed: tuple[Path, ...] = ()
    vault: Vault = field(default_factory=Vault)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    places: Places = field(default_factory=dict)
    admin_labels: frozenset[str] = frozenset()

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> ExecutorConfig:
        """Raises InterlockError(INVALID_ARGUMENT) naming the variable at fault."""
        vault = Vault.from_env(dict(env) if env is not None else None)
        return cls(
            directory=executor_dir(env),
            address=service_address("executor", env),
            orchestrator=service_address("orchestrator", env),
            token=load_token(env=env),
            limits=step_limits(env),
            commands=commands_at_once(env),
            patience=env_float("INTERLOCK_PUBLISH_WAIT_SECONDS", 60.0, minimum=0.0, maximum=3600.0, env=env),
            retention_days=env_int("INTERLOCK_EFFECT_RETENTION_DAYS", 30, minimum=1, maximum=3650, env=env),
            collect_grace_seconds=env_int(
                "INTERLOCK_COLLECT_GRACE_SECONDS", 3600, minimum=60, maximum=30 * 86_400, env=env
            ),
            store_max_bytes=_cap(env),
            workspace_limits=_workspace_limits(env),
            watch_directories=env_int(
                "INTERLOCK_WATCH_DIRECTORIES", default_directories(), minimum=0, maximum=1 << 22, env=env
            ),
            closed=(data_dir(env), postgres_dir(), *vault.directories, *_tls_keys(env)),
            vault=vault,
            network=NetworkConfig.from_env(env),
            places=places_from_env(env),
            admin_labels=admin_labels(env),
        )


def commands_at_once(env: Mapping[str, str] | None = None) -> int:
    """How many commands of all steps run at one time; further ones wait."""
    usual = 2 * (os.cpu_count() or 1)
    return env_int("INTERLOCK_EXECUTOR_COMMANDS", usual, minimum=1, maximum=1024, env=env)


def step_limits(env: Mapping[str, str] | None = None) -> Limits:
    """What a step gets where neither it nor its workspace says."""

    def of(name: str, limit: str, unit: int) -> int:
        default, most = getattr(DEFAULT_LIMITS, limit), getattr(MAXIMUM_LIMITS, limit)
        return env_int(name, default // unit, minimum=1, maximum=most // unit, env=env) * unit

    return dataclasses.replace(
        DEFAULT_LIMITS,
        wall_us=of("INTERLOCK_STEP_WALL_SECONDS", "wall_us", SECOND),
        memory_bytes=of("INTERLOCK_STEP_MEMORY_MIB", "memory_bytes", MIB),
        processes=of("INTERLOCK_STEP_PROCESSES", "processes", 1),
        written_bytes=of("INTERLOCK_STEP_WRITTEN_MIB", "written_bytes", MIB),
        written_files=of("INTERLOCK_STEP_WRITTEN_FILES", "written_files", 1),
    )


def _tls_keys(env: Mapping[str, str] | None) -> tuple[Path, ...]:
    """The key file alone: the directory that it is in may be somebody's home."""
    found = tls.from_env(env)
    return (found.key,) if found else ()


def _cap(env: Mapping[str, str] | None) -> int | None:
    name = "INTERLOCK_EXECUTOR_STORE_MAX_BYTES"
    return env_int(name, 0, minimum=MIB, maximum=1 << 50, env=env) if text(name, "", env) else None


def _workspace_limits(env: Mapping[str, str] | None) -> WorkspaceLimits:
    def of(name: str, limit: str, unit: int, most: int) -> int:
        return env_int(name, getattr(WorkspaceLimits, limit) // unit, minimum=1, maximum=most, env=env) * unit

    return WorkspaceLimits(
        entries=of("INTERLOCK_WORKSPACE_MAX_FILES", "entries", 1, 10_000_000),
        content_bytes=of("INTERLOCK_WORKSPACE_MAX_MIB", "content_bytes", MIB, 16 << 20),
        file_bytes=of("INTERLOCK_WORKSPACE_MAX_FILE_MIB", "file_bytes", MIB, 1 << 20),
        depth=of("INTERLOCK_WORKSPACE_MAX_DEPTH", "depth", 1, 1000),
        changes=of("INTERLOCK_EFFECT_MAX_FILES", "changes", 1, 10_000_000),
        effect_bytes=of("INTERLOCK_EFFECT_MAX_MIB", "effect_bytes", MIB, 16 << 20),
    )

"""Wiring: from configuration to a running service."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from pathlib import Path

from interlock.common import logs
from interlock.common.clock import SystemClock
from interlock.common.ids import UlidIds
from interlock.common.process import Arguments
from interlock.common.server import ServerSpec, serve
from interlock.executor.config import ExecutorConfig
from interlock.executor.convert.effects import prepared_payload
from interlock.executor.effects.store import EffectStore
from interlock.executor.engine import Engine, Rendered
from interlock.executor.sandbox import orphans
from interlock.executor.sandbox.confinement import Confinement
from interlock.executor.sandbox.identity import Identity
from interlock.executor.sandbox.selection import Choice, select
from interlock.executor.scope import WorkspaceScope
from interlock.executor.secrets.memory import keep_memory_private
from interlock.executor.service import ExecutorService
from interlock.executor.snapshots.database import half_of_disk
from interlock.executor.snapshots.model import Owner
from interlock.executor.workspaces.collector import Retention
from interlock.executor.workspaces.manager import Workspaces
from interlock.executor.workspaces.watches import Watches
from interlock.v1.executor_pb2_grpc import add_ExecutorServicer_to_server

SERVICE = "interlock.v1.Executor"
_log = logs.get("executor")


async def open_engine(config: ExecutorConfig) -> Engine:
    """Everything but the network. Raises SANDBOX_UNAVAILABLE when steps cannot be confined here; UNAVAILABLE when
    another executor has the directory."""
    choice = Choice.from_env()
    confinement = Confinement.from_env(config.directory / "sandbox")
    _make_directory(config.directory)
    identity = confinement.identity
    workspaces = await asyncio.to_thread(_open_workspaces, config, identity)
    try:
        if left := await asyncio.to_thread(orphans.end_every, orphans.name_of(confinement.private)):
            _log.warning("ended steps of an executor that was killed", processes=left)
        sandbox, probe = await select(choice, confinement, config.directory)
        await asyncio.to_thread(sandbox.end_orphans)
        workspaces.copy_forks = probe.tier.fork == "copy"
    except BaseException:
        workspaces.close()
        raise
    clock = SystemClock()
    engine = Engine(
        workspaces=workspaces,
        sandbox=sandbox,
        probe=probe,
        store=EffectStore(config.directory / "effects.db"),
        clock=clock,
        ids=UlidIds(clock),
        rendered=Rendered(prepared_payload),
        commands=config.commands,
        patience=config.patience,
        vault=config.vault,
        network=config.network,
    )
    logs.clean_with(config.vault.clean)
    for workspace, why in workspaces.recovered.failed:
        _log.warning("a publication is unfinished", workspace=workspace, why=why)
    await asyncio.to_thread(engine.recover)
    tier = probe.tier
    _log.info("sandbox", backend=tier.backend, enforcement=tier.enforcement, fork=tier.fork, uid=identity.uid)
    return engine


async def main(config: ExecutorConfig, arguments: Arguments) -> None:
    """Serve until a signal."""
    keep_memory_private()
    engine = await open_engine(config)
    service = ExecutorService(engine, config.limits, config.admin_labels)
    await serve(
        ServerSpec(
            "executor",
            config.address,
            [(service, add_ExecutorServicer_to_server, SERVICE)],
            config.token,
            orchestrator=config.orchestrator,
            scope=WorkspaceScope(engine, config.places),
            on_drain=engine.drain,
            on_stop=engine.close,
            ready_file=arguments.ready_file,
            ready_fd=arguments.ready_fd,
        )
    )


def _open_workspaces(config: ExecutorConfig, identity: Identity) -> Workspaces:
    owner = Owner(identity.uid, identity.gid) if identity.switch else None
    retention = Retention(
        timedelta(days=config.retention_days), timedelta(seconds=config.collect_grace_seconds)
    )
    return Workspaces(
        config.directory,
        owner=owner,
        limits=config.workspace_limits,
        closed=config.closed,
        max_bytes=config.store_max_bytes or half_of_disk(config.directory),
        retention=retention,
        watches=Watches(config.watch_directories),
    )


def _make_directory(path: Path) -> None:
    """The executor's directory; as root, one that the uid of steps can pass through, parents that are made included."""
    missing = [part for part in (path, *path.parents) if not part.exists()]
    path.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        for part in missing:
            part.chmod(0o711)

"""The checks. Each tries the real thing; nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.cli.doctor.finding import Finding, Level
from interlock.cli.doctor.models import models
from interlock.cli.supervisor.database import environment
from interlock.client.endpoints import SERVICES, defaults, from_env, is_locked
from interlock.common.addresses import parse_address
from interlock.common.config import data_dir, env_text, executor_dir
from interlock.common.errors import InterlockError
from interlock.common.postgres import EmbeddedPostgres, postgres_dir

if TYPE_CHECKING:
    from interlock.executor.sandbox.selection import Choice, Trial


async def examine(env: Mapping[str, str]) -> list[Finding]:
    """Every finding, in a fixed order; at least one for each thing Interlock needs."""
    with environment(env):
        return [
            _python(),
            _directory(),
            _step_uid(),
            *await _sandbox(),
            _limits(),
            await asyncio.to_thread(_postgres),
            *await models(),
            *_ports(),
        ]


def _python() -> Finding:
    detail = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.platform != "linux":
        return Finding("system", Level.MISSING, detail, "Run Interlock on Linux; sandboxes need its kernel.")
    return Finding("system", Level.OK, detail)


def _directory() -> Finding:
    path = data_dir()
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = path / f".doctor-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        fix = "Choose one that this user can write, by --data-dir or INTERLOCK_DATA_DIR."
        return Finding("data directory", Level.MISSING, f"{path}: {error.strerror}", fix)
    return Finding("data directory", Level.OK, str(path))


def _step_uid() -> Finding:
    from interlock.executor.sandbox.identity import step_identity

    try:
        identity = step_identity()
    except InterlockError as error:
        return Finding.of_error("step uid", error)
    how = "switched to by root" if identity.switch else "this user"
    return Finding("step uid", Level.OK, f"{identity.uid} ({how})")


async def _sandbox() -> list[Finding]:
    from interlock.executor.sandbox.confinement import Confinement
    from interlock.executor.sandbox.selection import Choice, try_candidates

    try:
        choice = Choice.from_env()
        with _scratch(executor_dir().parent) as directory:
            confinement = Confinement.from_env(directory / "private")
            trials = await try_candidates(choice, confinement, directory)
            network = await _network(trials[-1])
    except InterlockError as error:
        return [Finding.of_error("sandbox", error)]
    except OSError as error:
        fix = "Choose a directory that this user can write, by INTERLOCK_EXECUTOR_DIR."
        return [Finding("sandbox", Level.MISSING, f"{executor_dir()}: {error.strerror}", fix)]
    *others, last = trials
    return [*_tier(choice, last), *network, *(_unusable(each) for each in others)]


async def _network(trial: Trial) -> list[Finding]:
    """Whether steps of the sandbox in force can have network. Raises InterlockError for settings that are wrong."""
    from interlock.executor.sandbox.network.config import NetworkConfig, network_check
    from interlock.executor.sandbox.network.trial import NetworkTrial

    if not trial.usable or trial.sandbox is None:
        return []
    check = network_check(await NetworkTrial(NetworkConfig.from_env(), trial.sandbox).found())
    return [Finding("network of steps", Level.OK if check.ok else Level.WARNING, check.detail, check.fix)]


def _unusable(trial: Trial) -> Finding:
    """A stronger sandbox that does not work here; another one is in force, or none."""
    assert trial.refusal is not None
    return Finding(f"sandbox {trial.backend}", Level.WARNING, trial.refusal.message, trial.refusal.fix)


def _tier(choice: Choice, trial: Trial) -> list[Finding]:
    """The sandbox in force, and what its self-test found; or why there is none."""
    sandbox, probe = trial.sandbox, trial.probe
    if sandbox is None or probe is None:
        assert trial.refusal is not None
        return [Finding.of_error("sandbox", trial.refusal)]
    level = sandbox.capabilities.level.name.lower()
    tier = ", ".join(
        (
            f"{probe.tier.backend} (level {level}, minimum {choice.minimum.name.lower()})",
            probe.tier.enforcement,
            f"fork by {probe.tier.fork}",
        )
    )
    bad = {True: Level.MISSING, False: Level.WARNING}
    return [
        Finding("sandbox", Level.OK if trial.usable else Level.MISSING, tier),
        *(
            Finding(
                f"sandbox: {check.name}",
                Level.OK if check.ok else bad[check.required],
                check.detail,
                check.fix,
            )
            for check in probe.checks
        ),
    ]


def _limits() -> Finding:
    """What a command gets that asks for nothing, in a workspace that says nothing."""
    from interlock.cli.limits import limits_text
    from interlock.executor.config import commands_at_once, step_limits
    from interlock.executor.convert.effects import limits_message

    try:
        detail = f"{limits_text(limits_message(step_limits()))}; {commands_at_once()} commands at once"
    except InterlockError as error:
        return Finding.of_error("limits", error)
    return Finding("limits", Level.OK, detail)


def _postgres() -> Finding:
    url = env_text("INTERLOCK_DATABASE_URL")
    try:
        if url:
            return _given_database(url)
        with _scratch(postgres_dir().parent) as directory:
            server = EmbeddedPostgres(directory / "postgres")
            server.start()
            server.stop()
    except InterlockError as error:
        return Finding.of_error("postgres", error)
    except OSError as error:
        return Finding("postgres", Level.MISSING, f"{postgres_dir()}: {error.strerror}")
    return Finding("postgres", Level.OK, f"embedded; a new cluster starts; data will be in {postgres_dir()}")


def _given_database(url: str) -> Finding:
    from interlock.orchestrator.store.migrate import current_revision, head_revision

    found, wanted = current_revision(url), head_revision()
    if found == wanted:
        return Finding("postgres", Level.OK, f"INTERLOCK_DATABASE_URL answers, at revision {found}")
    return Finding(
        "postgres",
        Level.WARNING,
        f"INTERLOCK_DATABASE_URL answers, at revision {found or 'none'}; this release needs {wanted}",
        "Run `interlock db upgrade`; `interlock up` does it by itself.",
    )


def _ports() -> list[Finding]:
    if is_locked(data_dir()):
        return [Finding("ports", Level.OK, "Interlock is running on this data directory")]
    addresses = from_env().filled_from(defaults())
    return [_port(name, addresses.get(name)) for name in SERVICES]


def _port(service: str, text: str) -> Finding:
    check = f"port of {service}"
    try:
        address = parse_address(text, field=service)
    except InterlockError as error:
        return Finding.of_error(check, error)
    if address.is_unix:
        return Finding(check, Level.OK, text)
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            fix = "Stop what listens there, or use other ports: `interlock up --port-base 0`."
            return Finding(check, Level.WARNING, f"{text}: {error.strerror}", fix)
    return Finding(check, Level.OK, f"{text} is free")


@contextlib.contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    """A directory beside the real one (same file system, same path for other users), removed afterwards."""
    made = [each for each in (parent, *parent.parents) if not each.exists()]
    directory = parent / f"doctor-{os.getpid()}"
    directory.mkdir(parents=True, mode=0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        for each in made:
            with contextlib.suppress(OSError):
                each.rmdir()

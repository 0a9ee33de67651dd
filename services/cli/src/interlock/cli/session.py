"""A client for the time of one command."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from interlock.cli.output import progress
from interlock.cli.settings import Settings
from interlock.client import Client, Retry
from interlock.client.endpoints import Endpoints, defaults, from_env, parse_servers, read_supervisor
from interlock.common.errors import InterlockError

_UNSEEN_SECONDS = 1.5


def _tell(error: InterlockError, seconds: float) -> None:
    progress(f"{error.message} Waiting up to {seconds:.0f} s for it to come back.")


_RETRY = Retry(unseen=_UNSEEN_SECONDS, tell=_tell)


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[Client]:
    """A client to the services that the options or the environment name, to running ones, or to new ones.

    With nothing named and nothing running, the services are started on the data directory, and stopped when the
    last command that uses them has ended.
    """
    env = settings.env()
    named = _named(settings)
    if _any(named):
        async with _client(settings, named) as client:
            yield client
        return
    from interlock.cli.supervisor.borrow import services

    async with services(env, defaults()) as endpoints, _client(settings, endpoints) as client:
        yield client


def stops_with_commands(settings: Settings) -> bool:
    """Whether the services in use were started for the time of a command, this one or another."""
    if _any(_named(settings)):
        return False
    running = read_supervisor(settings.directory)
    return running is not None and running.temporary


def _named(settings: Settings) -> Endpoints:
    return parse_servers(settings.servers).filled_from(from_env(settings.env()))


def _any(named: Endpoints) -> bool:
    """Whether one of the services that commands talk to is named; no command asks the gateway."""
    return any(address for name, address in named.items() if name != "gateway")


def _client(settings: Settings, endpoints: Endpoints) -> Client:
    return Client(
        orchestrator=endpoints.orchestrator,
        executor=endpoints.executor,
        planner=endpoints.planner,
        approval=endpoints.approval,
        token=settings.token,
        directory=settings.directory,
        retry=_RETRY,
    )

"""Wires the orchestrator together. No logic."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial

from interlock.common.access.guard import Guard, guarding
from interlock.common.client import Channel, channel
from interlock.common.clock import Clock, SystemClock
from interlock.common.ids import UlidIds
from interlock.common.server import ServerSpec, Service, serve
from interlock.orchestrator.clients.executor import ExecutorClient
from interlock.orchestrator.clients.executors import Executors
from interlock.orchestrator.clients.replies import Replies
from interlock.orchestrator.config import Config
from interlock.orchestrator.deps import Deps
from interlock.orchestrator.domain.keys import Keys
from interlock.orchestrator.policies import Policies
from interlock.orchestrator.runs.asked import Asked
from interlock.orchestrator.runs.book import RunBook
from interlock.orchestrator.runs.labels import WorkspaceLabels
from interlock.orchestrator.runs.payloads import Payloads
from interlock.orchestrator.runs.transaction import Transactions
from interlock.orchestrator.scope import RunScope
from interlock.orchestrator.service.access import AccessService
from interlock.orchestrator.service.orchestrator import OrchestratorService
from interlock.orchestrator.service.webhooks import WebhooksService
from interlock.orchestrator.store import access, installation
from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.feed import Feed, Reach
from interlock.orchestrator.store.journal import Journal
from interlock.orchestrator.store.migrate import check_revision
from interlock.orchestrator.store.notifier import Notifier
from interlock.orchestrator.webhooks.worker import WebhookWorker
from interlock.orchestrator.worker.anchorer import Anchorer
from interlock.orchestrator.worker.asking import Asking
from interlock.orchestrator.worker.collector import Collector
from interlock.orchestrator.worker.drivers import Drivers
from interlock.orchestrator.worker.executing import Executing
from interlock.orchestrator.worker.judging import Judging
from interlock.orchestrator.worker.looking import Looking
from interlock.orchestrator.worker.performer import Performer
from interlock.orchestrator.worker.planning import PlanAsking
from interlock.orchestrator.worker.spending import Spending
from interlock.orchestrator.worker.thinking import Thinking
from interlock.orchestrator.worker.troubles import Troubles
from interlock.v1 import access_pb2_grpc, orchestrator_pb2_grpc, webhook_pb2_grpc

_NAME = "interlock.v1.Orchestrator"


async def serve_orchestrator(config: Config) -> None:
    """Serves until a signal. Raises DATABASE_REVISION_MISMATCH, DATABASE_UNAVAILABLE, UNAVAILABLE."""
    async with parts(config) as deps, guarded(config, deps) as guard:
        spec = ServerSpec(
            "orchestrator",
            config.address,
            services(deps),
            config.token,
            guard=guard,
            scope=RunScope(deps),
            ready_file=config.ready_file,
        )
        await serve(spec)


def services(deps: Deps) -> list[Service]:
    """What the orchestrator serves."""
    return [
        (OrchestratorService(deps), orchestrator_pb2_grpc.add_OrchestratorServicer_to_server, _NAME),
        (AccessService(deps), access_pb2_grpc.add_AccessServicer_to_server, "interlock.v1.Access"),
        (WebhooksService(deps), webhook_pb2_grpc.add_WebhooksServicer_to_server, "interlock.v1.Webhooks"),
    ]


def guarded(config: Config, deps: Deps) -> AbstractAsyncContextManager[Guard]:
    """Tells callers apart by the database: the other services ask this one."""
    find, record = partial(access.find, deps.database), partial(access.record, deps.database)
    return guarding(config.token, find, record, SystemClock())


@asynccontextmanager
async def parts(config: Config) -> AsyncIterator[Deps]:
    """Starts the parts in the order in which they need each other, and ends them the other way round."""
    await asyncio.to_thread(check_revision, config.database_url)
    ids = UlidIds(clock := SystemClock())
    owner = ids.new("orchestrator")
    async with AsyncExitStack() as stack:
        database = Database(config.database_url, pool=config.pool)
        stack.push_async_callback(database.close)
        keys = Keys(await installation.secret(database))
        journal, feed = Journal(database), Feed(database)
        book, payloads, asked = RunBook(database), Payloads(database), Asked()
        forget = partial(_forget, payloads, asked)
        drivers = Drivers(database, book, forget, owner=owner, ttl=config.lease_seconds)
        notifier = Notifier(database, heard=lambda: not drivers.alone)
        for subscriber in (feed.on_flush, notifier.hint, drivers.on_flush):
            journal.on_flush(subscriber)
        for part in (journal, notifier, feed):
            await part.start()
            stack.push_async_callback(part.close)
        executor, planner_channel = await _clients(stack, config)
        stack.push_async_callback(executor.close)
        policies = Policies(config.policy, provider_groups=config.provider_groups)
        known = (database, journal, book, payloads, asked, clock, ids)
        transactions = Transactions(*known, owner=owner, policy=policies.digest, on_lease=drivers.own)
        executing = Executing(executor, payloads, keys, policies)
        troubles = Troubles()
        asking = Asking(planner_channel, payloads, book, Spending(database, ids, owner), config.model_seconds)
        thinkers = Thinking(asking, executor, payloads), PlanAsking(asking, executor, payloads, policies)
        does = executing, *thinkers, Judging(policies, payloads)
        performer = Performer(*does, policies, drivers.line, clock, troubles)
        stack.push_async_callback(drivers.close)
        await drivers.start(feed, transactions, performer)
        retention = timedelta(days=config.retention_days)
        anchorer = _now_and_then(stack, config, database, executor, clock)
        deps = Deps(
            database,
            feed,
            book,
            payloads,
            asked,
            WorkspaceLabels(database),
            transactions,
            executor,
            Replies(planner_channel),
            clock,
            ids,
            policies,
            Looking(executor, planner_channel, troubles, lease_seconds=config.lease_seconds),
            retention,
            Reach(timedelta(hours=config.feed_hours), config.feed_events),
            config.webhooks,
            journal_key=config.journal_key,
            anchorer=anchorer,
        )
        webhooks = WebhookWorker(deps)
        webhooks.start()
        stack.push_async_callback(webhooks.close)
        yield deps


async def _clients(stack: AsyncExitStack, config: Config) -> tuple[Executors, Channel]:
    """The executors, and the channel to the planner."""
    clients = {}
    for address in config.executors:
        opened = await stack.enter_async_context(channel(address, config.token, service="executor"))
        clients[str(address)] = ExecutorClient(opened)
    to_planner = channel(config.planner, config.token, service="planner")
    return Executors(clients), await stack.enter_async_context(to_planner)


def _forget(payloads: Payloads, asked: Asked, run_id: str, digests: Sequence[str]) -> None:
    payloads.forget(digests)
    asked.forget(run_id)


def _now_and_then(
    stack: AsyncExitStack, config: Config, database: Database, executors: Executors, clock: Clock
) -> Anchorer:
    """Starts what one of all orchestrators does at intervals."""
    retention = timedelta(days=config.retention_days)
    for address, executor in executors.clients.items():
        collector = Collector(
            database, executor, address, interval=config.collect_seconds, retention=retention
        )
        collector.start()
        stack.push_async_callback(collector.close)
    anchorer = Anchorer(database, config.journal_key, clock, interval=config.anchor_seconds)
    anchorer.start()
    stack.push_async_callback(anchorer.close)
    return anchorer

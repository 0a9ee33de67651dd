"""Import a source as a workspace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from interlock.common import logs
from interlock.common.digests import digest_json, sha256_text
from interlock.common.errors import InterlockError, Reason
from interlock.executor.engine import Engine
from interlock.executor.snapshots.scan import Progress
from interlock.executor.workspaces.model import AnySource, Workspace

_METHOD = "CreateWorkspace"
_REPORT_SECONDS = 5.0
_log = logs.get("workspaces")


async def create_workspace(
    engine: Engine,
    source: AnySource,
    *,
    original: bytes,
    labels: Mapping[str, str],
    limits: Mapping[str, int] | None = None,
    request_id: str = "",
) -> Workspace:
    """The new workspace; a repeated request gets the one it made first, finished if it was cut off.

    `original` is the source as the caller gave it, without credentials, kept to be shown.
    Raises WORKSPACE_SOURCE_INVALID, WORKSPACE_EXISTS, WORKSPACE_LIMIT_EXCEEDED, REQUEST_ID_REUSED, PERMISSION_DENIED.
    """
    name = engine.ids.new("ws")
    if request_id:
        asked: dict[str, object] = {"source": sha256_text(original), "labels": dict(labels)}
        if limits:  # only then, so that requests without are the ones they were
            asked["limits"] = dict(limits)
        fingerprint = digest_json(asked, "interlock.executor.create.v1")
        # The id is decided before the work: whoever repeats the request looks for the same workspace.
        begun = await engine.call(
            engine.store.begin_request, _METHOD, request_id, fingerprint, name, engine.now()
        )
        name = begun.subject
    work = _create(engine, name, source, original, labels, limits or {}, request_id)
    return await engine.finish(asyncio.ensure_future(work))


async def _create(
    engine: Engine,
    name: str,
    source: AnySource,
    original: bytes,
    labels: Mapping[str, str],
    limits: Mapping[str, int],
    request_id: str,
) -> Workspace:
    async with engine.turns.publish(name):
        try:
            return await engine.call(engine.workspaces.get, name)
        except InterlockError as error:
            if error.reason is not Reason.WORKSPACE_NOT_FOUND:
                raise
        await engine.call(engine.store.put_source, name, original)
        try:
            report = _reporter(engine, name)
            return await engine.call(
                lambda: engine.workspaces.create(
                    source, workspace=name, labels=labels, limits=limits, progress=report
                )
            )
        except InterlockError:
            if request_id:
                await engine.note_if_possible(engine.store.drop_request, _METHOD, request_id)
            raise


def _reporter(engine: Engine, name: str) -> Callable[[Progress], None]:
    """Says now and then how far a long import is, and ends it when the executor stops."""
    told = engine.clock.monotonic()

    def report(progress: Progress) -> None:
        nonlocal told
        if engine.closing.is_set():
            raise InterlockError(
                Reason.UNAVAILABLE, "The executor is stopping; the import was not finished.", field="source"
            )
        if engine.clock.monotonic() - told >= _REPORT_SECONDS:
            told = engine.clock.monotonic()
            _log.info(
                "importing",
                workspace_id=name,
                phase=progress.phase,
                entries=progress.entries,
                content_bytes=progress.content_bytes,
            )

    return report

"""Exports: a tree, or the history of a run, out of the executor's store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

from interlock.client.exporting.history import History, read_history
from interlock.client.exporting.places import new_directory, new_file
from interlock.client.exporting.repository import write_repository
from interlock.client.exporting.unpack import Unpacker
from interlock.client.journals import JournalCalls
from interlock.common.errors import InterlockError, Reason
from interlock.v1 import export_pb2 as pb


@dataclass(slots=True)
class Exported:
    """What was written: bytes received, commits made, and what is not carried as it is (the first 1,000)."""

    bytes: int = 0
    commits: int = 0
    omissions: list[pb.ExportOmission] = field(default_factory=list)
    omissions_total: int = 0


class ExportCalls(JournalCalls):
    """Calls that write trees."""

    async def run_history(self, run_id: str) -> History:
        """The trees a run's workspace was at, as commits; those of the runs it is a fork of come first."""
        return await read_history(run_id, self.list_events)

    async def export_tree(
        self, items: Iterable[pb.ExportItem], format_: int, result: Exported | None = None
    ) -> AsyncIterator[bytes]:
        """The bytes of a tar archive (of one tree), or for `git fast-import` (of any number), as they come.

        The next ones are asked for when these are taken. `result` tells at the end what was left out.
        """
        request = pb.ExportTreeRequest(format=format_, items=items)  # type: ignore[arg-type]
        done = result if result is not None else Exported()
        complete = False
        async with aclosing(self.stream(self.executor.ExportTree, request)) as stream:  # type: ignore[type-var]
            async for message in stream:
                done.bytes += len(message.data)
                if message.complete:
                    complete = True
                    done.omissions = list(message.omissions)
                    done.omissions_total = message.omissions_total
                if message.data:
                    yield message.data
        if not complete:
            raise InterlockError(
                Reason.UNAVAILABLE, "The executor's stream ended before the export was complete."
            )

    async def export_tar(self, item: pb.ExportItem, out: Path | int) -> Exported:
        """Write a tree as a tar archive to a file, whole or not at all, or to an open descriptor."""
        if isinstance(out, int):
            return await self._tar_to(item, out)
        with new_file(out) as fd:
            return await self._tar_to(item, fd)

    async def export_directory(self, item: pb.ExportItem, out: Path) -> Exported:
        """Write a tree into a directory that is absent or empty: whole, or not at all."""
        result = Exported()
        with new_directory(out) as part:
            unpacker = Unpacker(part)
            try:
                async for data in self.export_tree([item], pb.EXPORT_FORMAT_TAR, result):
                    await asyncio.to_thread(unpacker.write, data)
                await asyncio.to_thread(unpacker.finish)
            except OSError as error:
                raise _not_written(error) from None
            finally:
                unpacker.close()
        return result

    async def export_git(self, items: Iterable[pb.ExportItem], out: Path) -> Exported:
        """Write trees as the commits of a new repository, in a directory that is absent or empty."""
        wanted = list(items)
        result = Exported(commits=len(wanted))
        with new_directory(out) as part:
            await write_repository(part, self.export_tree(wanted, pb.EXPORT_FORMAT_GIT, result))
        return result

    async def _tar_to(self, item: pb.ExportItem, fd: int) -> Exported:
        result = Exported()
        try:
            async for data in self.export_tree([item], pb.EXPORT_FORMAT_TAR, result):
                await asyncio.to_thread(_write_all, fd, data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise _not_written(error) from None
        return result


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _not_written(error: OSError) -> InterlockError:
    return InterlockError(
        Reason.INVALID_ARGUMENT,
        f"The export cannot be written: {error.strerror}.",
        field="out",
        fix="Check that the disk has space and that its file system takes such names; nothing was left behind.",
    )

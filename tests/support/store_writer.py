"""A second orchestrator's flusher, as a process: appends to its own runs until its standard input closes.

Arguments: database URL, prefix of the run ids, number of runs. Prints "ready", and at the end how many appends.
"""

from __future__ import annotations

import asyncio
import sys

from tests.support.store import append

from interlock.orchestrator.store.engine import Database
from interlock.orchestrator.store.journal import Journal
from interlock.orchestrator.store.notifier import Notifier


async def main(url: str, prefix: str, count: int) -> None:
    database = Database(url)
    journal, notifier = Journal(database), Notifier(database)
    await journal.start()
    await notifier.start()
    journal.on_flush(notifier.hint)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stop.set)

    async def write(run_id: str) -> int:
        seq = 0
        while not stop.is_set():
            seq = (await journal.append(append(run_id, seq, 1 + seq % 3))).seq
        return seq

    print("ready", flush=True)
    print(sum(await asyncio.gather(*(write(f"{prefix}-{n:02}") for n in range(count)))), flush=True)
    await notifier.close()
    await journal.close()
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))

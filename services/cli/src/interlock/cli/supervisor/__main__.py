"""The temporary supervisor: runs the services on free ports for as long as commands share `users.lock`.

It writes one line of JSON to standard output, `{"ready": true}` or `{"error": {…}}`, and then nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys

from interlock.cli.supervisor.locks import USERS_FILE, Lock
from interlock.cli.supervisor.supervisor import Supervisor
from interlock.common.errors import InterlockError

_POLL = 0.2


async def main() -> int:
    """Start, tell, wait until nobody is left, stop."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stopping.set)
    supervisor = Supervisor(os.environ, port_base=0, report=_report, temporary=True)
    users = Lock(supervisor.directory / USERS_FILE)
    try:
        users.open()
        await supervisor.start()
    except InterlockError as error:
        _tell({"error": _as_dict(error)})
        return 1
    _tell({"ready": True})
    try:
        # With the lock in hand no new user can come while the services stop.
        while not stopping.is_set() and not users.attempt():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), _POLL)
    finally:
        await supervisor.stop()
        users.close()
    return 0


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _tell(message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.close()


def _as_dict(error: InterlockError) -> dict[str, object]:
    return {
        "reason": error.reason.value,
        "message": error.message,
        "field": error.field,
        "fix": error.fix,
        "metadata": error.metadata,
    }


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

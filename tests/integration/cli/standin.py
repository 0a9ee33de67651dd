"""A process that behaves like a service towards a supervisor: `python standin.py NAME MODE`.

Modes: `serve`; `fail` (ends with a structured error); `stubborn` (serves, ignores SIGTERM, and has a child that
ignores it too, whose pid it prints); `loud` (serves, and prints lines of every kind).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from interlock.common.config import load_token, service_address
from interlock.common.server import ServerSpec, running

CHILD = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(3600)"


async def serve(name: str, mode: str) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    if mode == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD)
        print(f"child {child.pid}", flush=True)
    else:
        loop.add_signal_handler(signal.SIGTERM, stopping.set)
    if mode == "loud":
        os.write(1, b"plain line\n\xff\xfe not text\n" + b"x" * 3_000_000 + b"\nunfinished")
    listening = (
        by_http() if name == "gateway" else running(ServerSpec(name, service_address(name), [], load_token()))
    )
    async with listening:
        print(f"{name} is serving", flush=True)
        await stopping.wait()


@asynccontextmanager
async def by_http() -> AsyncIterator[None]:
    """What the gateway says of itself, and nothing else."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()

    address = service_address("gateway")
    async with await asyncio.start_server(answer, address.host, address.port):
        yield


def main() -> int:
    name, mode = sys.argv[1:3]
    if mode == "fail":
        error = {"level": "error", "event": "Port is taken.", "reason": "UNAVAILABLE", "fix": "Free it."}
        print(json.dumps(error), file=sys.stderr, flush=True)
        return 1
    if mode == "hang":
        time.sleep(3600)
    asyncio.run(serve(name, mode))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The echo service as a process: `python -m tests.support.echo_main NAME READY_FILE [ONWARD_ADDRESS]`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support import echo

from interlock.common.client import channel
from interlock.common.config import load_token
from interlock.common.process import run
from interlock.common.server import ServerSpec, serve


async def main(name: str, ready_file: str, onward: str = "") -> None:
    assert name != "broken", "broken"
    token = load_token()
    service = echo.Echo(channel(onward, token) if onward else None)

    async def release() -> None:
        service.released.set()

    await serve(
        ServerSpec(
            name,
            "127.0.0.1:0",
            [(service, echo.add_to_server, echo.SERVICE)],
            token,
            ready_file=Path(ready_file),
            on_drain=release if name == "releasing" else None,
            grace_seconds=30.0 if name != "impatient" else 0.2,
        )
    )


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], lambda: main(*sys.argv[1:])))

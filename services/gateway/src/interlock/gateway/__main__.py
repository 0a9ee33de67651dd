"""`python -m interlock.gateway`: run the HTTP gateway until SIGTERM."""

from __future__ import annotations

import sys

from interlock.common.process import arguments, run
from interlock.gateway.config import load
from interlock.gateway.server import serve


def main() -> int:
    """Run the service; returns the exit code."""
    given = arguments("gateway")

    async def start() -> None:
        await serve(load(ready_file=given.ready_file, ready_fd=given.ready_fd))

    return run("gateway", start)


if __name__ == "__main__":
    sys.exit(main())

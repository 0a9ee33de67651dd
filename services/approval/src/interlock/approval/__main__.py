"""`python -m interlock.approval`: run the Approval service until SIGTERM."""

from __future__ import annotations

import gc
import sys
from typing import Final

from interlock.approval.config import load
from interlock.approval.server import build
from interlock.common.process import arguments, run
from interlock.common.server import serve

_YOUNG: Final = 50_000
"""New objects after which it is looked for garbage among them."""


def main() -> int:
    """Run the service; returns the exit code."""
    given = arguments("approval")
    # Thousands of subscriptions stand in memory and are no garbage: going over them again and again took a sixth of
    # the time that an event takes to reach everyone.
    gc.set_threshold(_YOUNG, 20, 20)

    async def start() -> None:
        gc.freeze()
        await serve(build(load(ready_file=given.ready_file, ready_fd=given.ready_fd)))

    return run("approval", start)


if __name__ == "__main__":
    sys.exit(main())

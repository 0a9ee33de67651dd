"""`python -m interlock.matrix [FILE]`: run the Matrix bot until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from interlock.common.process import run
from interlock.matrix import bot
from interlock.matrix.settings import load


def main() -> int:
    """Run the bot; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m interlock.matrix", description=__doc__)
    parser.add_argument(
        "file", type=Path, nargs="?", help="settings; default: INTERLOCK_MATRIX_CONFIG, or none"
    )
    file = parser.parse_args().file
    return run("matrix", lambda: _until_stopped(file))


async def _until_stopped(file: Path | None) -> None:
    working = asyncio.ensure_future(bot.run(load(file)))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, working.cancel)
    try:
        await working
    except asyncio.CancelledError:
        if not working.cancelled():
            raise


if __name__ == "__main__":
    sys.exit(main())

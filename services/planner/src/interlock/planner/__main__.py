"""``python -m interlock.planner``: run the planner until SIGTERM. Settings: docs/models.md."""

from __future__ import annotations

import sys

from interlock.common.config import load_token
from interlock.common.process import run
from interlock.common.server import serve
from interlock.planner.config import load
from interlock.planner.server import build_spec


async def _serve() -> None:
    await serve(build_spec(load(), load_token()))


def main() -> int:
    """Run it; returns the exit code (0 after a drain, 1 failed to start, 2 wrong configuration)."""
    return run("planner", _serve)


if __name__ == "__main__":
    sys.exit(main())

"""`python -m interlock.orchestrator`: runs the service until SIGTERM."""

from __future__ import annotations

import asyncio
import sys

from interlock.common import logs
from interlock.common.errors import InterlockError
from interlock.orchestrator.config import from_env
from interlock.orchestrator.server import run


def main() -> int:
    """Exit code 0 after a clean stop, 1 when it cannot start."""
    try:
        logs.setup("orchestrator")
        asyncio.run(run(from_env()))
    except InterlockError as error:
        sys.stderr.write(f"interlock-orchestrator: {error.message} {error.fix} [{error.reason.value}]\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

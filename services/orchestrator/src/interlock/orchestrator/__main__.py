"""`python -m interlock.orchestrator`: runs the service until SIGTERM."""

from __future__ import annotations

import sys

from interlock.common.process import run
from interlock.orchestrator.config import from_env
from interlock.orchestrator.server import serve_orchestrator


def main() -> int:
    """Exit code 0 after a drain, 1 when it could not start, 2 when its configuration is wrong."""
    return run("orchestrator", lambda: serve_orchestrator(from_env()))


if __name__ == "__main__":
    sys.exit(main())

"""`python -m interlock.approval`: run the Approval service until SIGTERM."""

from __future__ import annotations

import sys

from interlock.approval.config import load
from interlock.approval.server import build
from interlock.common.process import arguments, run
from interlock.common.server import serve


def main() -> int:
    """Run the service; returns the exit code."""
    given = arguments("approval")
    return run("approval", lambda: serve(build(load(ready_file=given.ready_file, ready_fd=given.ready_fd))))


if __name__ == "__main__":
    sys.exit(main())

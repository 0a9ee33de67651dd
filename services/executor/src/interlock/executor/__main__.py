"""`python -m interlock.executor`: run the executor until SIGTERM."""

from __future__ import annotations

import sys

from interlock.common.process import arguments, run


def main() -> int:
    """Exit code of the process."""
    given = arguments("executor")

    async def start() -> None:
        from interlock.executor.config import ExecutorConfig
        from interlock.executor.server import main as serve_until_signal

        await serve_until_signal(ExecutorConfig.from_env(), given)

    return run("executor", start)


if __name__ == "__main__":
    sys.exit(main())

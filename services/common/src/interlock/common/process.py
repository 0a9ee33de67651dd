"""The frame of every service's `__main__`: logs, telemetry, one event loop, and a decent end.

    def main() -> int:
        return run("executor", lambda: serve(build_spec(load_config())))

Exit codes: 0 after a drain, 1 when the service could not start or failed, 2 when its configuration is wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from interlock.common import logs, telemetry
from interlock.common.errors import InterlockError, Reason


def run(service: str, main: Callable[[], Awaitable[None]]) -> int:
    """Run a service's coroutine with logs and telemetry of `interlock-<service>`; returns the exit code.

    An InterlockError becomes one log line with reason, field and what to do: never a traceback.
    """
    name = f"interlock-{service}"
    log = logs.get(service)
    try:
        logs.setup(name)
        exporters = telemetry.setup(name)
    except InterlockError as error:
        logs.setup(name, level="info")
        return _failed(log, error)
    try:
        asyncio.run(_as_coroutine(main))
    except InterlockError as error:
        return _failed(log, error)
    except KeyboardInterrupt:
        return 130
    finally:
        exporters.shutdown()
    return 0


async def _as_coroutine(main: Callable[[], Awaitable[None]]) -> None:
    await main()


def _failed(log: object, error: InterlockError) -> int:
    line = {"reason": error.reason.value, "field": error.field, "fix": error.fix, **error.metadata}
    log.error(error.message, **{key: value for key, value in line.items() if value})  # type: ignore[attr-defined]
    return 2 if error.reason is Reason.INVALID_ARGUMENT else 1

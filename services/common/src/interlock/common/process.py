"""The frame of every service's `__main__`: logs, telemetry, one event loop, and a decent end.

    def main() -> int:
        given = arguments("executor")
        return run("executor", lambda: serve(build_spec(load_config(), given.ready_file)))

Exit codes: 0 after a drain, 1 when the service could not start or failed, 2 when its configuration is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interlock.common import logs, telemetry
from interlock.common.errors import InterlockError, Reason

HOLD = "INTERLOCK_HOLD_FD"
"""Names an inherited descriptor: once everything is imported, the service waits for its end of file, then starts."""
_YOUNG: Final = 50_000
"""New objects after which the collector looks for cycles among them."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """How whoever starts the process wants to learn that it listens, and where."""

    ready_file: Path | None = None
    ready_fd: int | None = None


def arguments(service: str, given: Sequence[str] | None = None) -> Arguments:
    """Parse a service's command line. Exits with code 2 and a usage message when it is wrong."""
    parser = argparse.ArgumentParser(
        prog=f"python -m interlock.{service}",
        description=f"Run the Interlock {service} until SIGTERM. It is configured by INTERLOCK_* variables.",
    )
    parser.add_argument("--ready-file", type=Path, help="write the bound address here once calls are taken")
    parser.add_argument("--ready-fd", type=int, help="write it to this inherited file descriptor")
    parsed = parser.parse_args(given)
    return Arguments(parsed.ready_file, parsed.ready_fd)


def run(service: str, main: Callable[[], Awaitable[None]]) -> int:
    """Run a service's coroutine with logs and telemetry of `interlock-<service>`; returns the exit code.

    An InterlockError becomes one log line with reason, field and what to do; a defect one line with its traceback.
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
        _hold()
        _spare_the_living()
        asyncio.run(_as_coroutine(main))
    except InterlockError as error:
        return _failed(log, error)
    except KeyboardInterrupt:
        return 130
    except Exception:
        log.exception("the service failed unexpectedly")
        return 1
    finally:
        exporters.shutdown()
    return 0


def _spare_the_living() -> None:
    """Runs, subscriptions and what is imported stand in memory for long and are no garbage: the collector, as it
    comes, goes over them again and again, for a sixth of the time that an event takes to reach everyone.
    """
    gc.set_threshold(_YOUNG, 20, 20)
    gc.freeze()


def _hold() -> None:
    """Wait until whoever started the process lets it go on, or is gone."""
    text = os.environ.pop(HOLD, "")
    if not text:
        return
    try:
        with open(int(text), "rb") as held:
            held.read(1)
    except (OSError, ValueError):
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"{HOLD} is {text[:40]!r}, which is no descriptor that can be read.",
            field=HOLD,
            fix="Unset it: only the program that starts the services sets it.",
        ) from None


async def _as_coroutine(main: Callable[[], Awaitable[None]]) -> None:
    await main()


def _failed(log: object, error: InterlockError) -> int:
    line = {"reason": error.reason.value, "field": error.field, "fix": error.fix, **error.metadata}
    log.error(error.message, **{key: value for key, value in line.items() if value})  # type: ignore[attr-defined]
    return 2 if error.reason is Reason.INVALID_ARGUMENT else 1

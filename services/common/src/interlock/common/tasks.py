"""Ending a task that one has started."""

from __future__ import annotations

import asyncio
from typing import Any


async def stop(task: asyncio.Task[Any] | None) -> None:
    """Cancels the task and waits for its end; None is a task that was never started.

    Raises what the task failed with, if it had failed. When the caller itself is cancelled meanwhile, that is
    raised, not mistaken for the task's end; the task ends all the same.
    """
    if task is None:
        return
    task.cancel()
    await asyncio.wait((task,))
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error

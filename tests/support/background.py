"""An asynchronous test double that lives as long as a session: it runs on an event loop of its own, in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


class Background:
    """An event loop in a thread. What is made on it is used through `call`."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T], seconds: float = 60) -> T:
        """The result of a coroutine, run over there."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(seconds)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@contextmanager
def in_background(
    make: Callable[[], AbstractAsyncContextManager[T]],
) -> Iterator[tuple[T, Background]]:
    """What an asynchronous context manager makes, and the loop it lives on."""
    background = Background()
    manager = make()
    try:
        made = background.call(manager.__aenter__())
        try:
            yield made, background
        finally:
            background.call(manager.__aexit__(None, None, None))
    finally:
        background.close()

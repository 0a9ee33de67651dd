"""Tells the worker, in this process, that something about webhooks has changed."""

from __future__ import annotations

from collections.abc import Callable


class Bell:
    """Whoever changes something rings; whoever works listens."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[], None]] = []

    def listen(self, call: Callable[[], None]) -> None:
        """Call this at every ring from now on."""
        self._listeners.append(call)

    def ring(self) -> None:
        """There are other endpoints than before, or something is to be sent."""
        for call in self._listeners:
            call()

"""One running local model for many tests: the real one, started once per process."""

from __future__ import annotations

from interlock.planner.gateways.local import LocalGateway
from interlock.planner.gateways.local_process import LocalProcess, LocalSettings, find_weights


class SharedModel:
    """The running process, lent to gateways that believe it is theirs."""

    def __init__(self) -> None:
        self._process = LocalProcess.start(LocalSettings(find_weights()))

    def gateway(self) -> LocalGateway:
        """A gateway on the shared process; closing it leaves the process running."""
        return LocalGateway(launch=lambda _settings: _Lent(self._process))

    def stop(self) -> None:
        self._process.stop()


class _Lent(LocalProcess):
    def __init__(self, owner: LocalProcess) -> None:
        super().__init__(owner._process, owner.url, owner.key)

    def stop(self, patience_s: float = 3.0) -> None:
        """Not ours to stop."""

"""What one process keeps about a workspace in memory: its lock, its running forks, its stat cache."""

from __future__ import annotations

import threading
from collections.abc import Callable

from interlock.executor.snapshots.scan import StatCache


class Runtime:
    """The lock of one workspace is `changed`; everything else here is read and written under it."""

    def __init__(self, load_cache: Callable[[], StatCache]) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.open_forks: set[str] = set()
        self._load_cache = load_cache
        self._cache: StatCache | None = None

    @property
    def cache(self) -> StatCache:
        """The stat cache, loaded at its first use."""
        if self._cache is None:
            self._cache = self._load_cache()
        return self._cache

    def adopt(self, cache: StatCache) -> None:
        """Take the stat cache of the reading that made the workspace, unless it has been read again since."""
        with self.changed:
            if self._cache is None:
                self._cache = cache

    @property
    def loaded(self) -> bool:
        """Whether the cache is in memory."""
        return self._cache is not None


class Runtimes:
    """One `Runtime` per workspace."""

    def __init__(self, load_cache: Callable[[str], StatCache]) -> None:
        self._lock = threading.Lock()
        self._all: dict[str, Runtime] = {}
        self._load_cache = load_cache

    def of(self, workspace: str) -> Runtime:
        """The workspace's, made at its first use."""
        with self._lock:
            found = self._all.get(workspace)
            if found is None:
                found = self._all[workspace] = Runtime(lambda: self._load_cache(workspace))
            return found

    def drop(self, workspace: str) -> None:
        """Forget a removed workspace."""
        with self._lock:
            self._all.pop(workspace, None)

    def loaded(self) -> list[tuple[str, StatCache]]:
        """Every stat cache in memory."""
        with self._lock:
            return [(name, runtime.cache) for name, runtime in self._all.items() if runtime.loaded]

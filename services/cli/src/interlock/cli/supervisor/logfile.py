"""Log files of bounded size."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path

MAX_BYTES = 8 * 1024 * 1024
_KEPT_LINES = 50


class LogFile:
    """Appends lines; at MAX_BYTES the file becomes `<name>.1`, replacing the one before.

    So a service's logs take at most twice that. The last lines are kept in memory to explain a failed start.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = path
        self._max = max_bytes
        self._file = open(path, "ab")  # noqa: SIM115 (closed by close)
        self._size = path.stat().st_size
        self.last: deque[bytes] = deque(maxlen=_KEPT_LINES)

    def write(self, line: bytes) -> None:
        """Append a line, given with its newline."""
        if self._size + len(line) > self._max and self._size:
            self._file.close()
            self.path.replace(self.path.with_name(self.path.name + ".1"))
            self._file = open(self.path, "ab")  # noqa: SIM115 (closed by close)
            self._size = 0
        self._file.write(line)
        self._file.flush()
        self._size += len(line)
        self.last.append(line[:4000])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def last_error(self) -> dict[str, str]:
        """Fields of the last structured line of level error (`event`, `reason`, `fix` …); else the last line."""
        for line in reversed(self.last):
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and entry.get("level") == "error":
                return {str(key): str(value) for key, value in entry.items()}
        text = self.last[-1].decode("utf-8", "replace").strip() if self.last else "it wrote nothing"
        return {"event": text}

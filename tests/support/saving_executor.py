"""The executor, in the middle of whose publications somebody saves files.

Where the file that TEST_SAVES names is, its JSON object says what: paths and their new content. It is done when the
first path of a live directory has been changed, and the file is removed.
"""

from __future__ import annotations

import json
import os
import runpy
from pathlib import Path

from interlock.executor.files import failpoints


def save(passed: str) -> None:
    """Somebody's editor, at that very moment."""
    told = Path(os.environ["TEST_SAVES"])
    if passed == "publish.live.entry" and told.exists():
        for path, content in json.loads(told.read_text()).items():
            Path(path).write_text(content)
        told.unlink()


if __name__ == "__main__":
    failpoints.action = save
    runpy.run_module("interlock.executor", run_name="__main__")

"""Which revisions of the schema this release has, read from their files without Alembic.

Every start asks whether the database is at the newest one. Alembic, whose import takes as long as the rest of a start,
is needed only where it is not.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Final

_FILES: Final = Path(__file__).parent / "migrations" / "versions"
_LINE: Final = re.compile(r'^(revision|down_revision) = (?:"(\w+)"|None)$', re.MULTILINE)


@cache
def known() -> dict[str, str]:
    """Each revision with the one before it; the first has an empty one."""
    found = {}
    for path in sorted(_FILES.glob("[0-9]*.py")):
        said = dict(_LINE.findall(path.read_text(encoding="utf-8")))
        found[said["revision"]] = said["down_revision"]
    return found


def head() -> str:
    """The revision this release needs."""
    revisions = known()
    (newest,) = set(revisions) - set(revisions.values())
    return newest

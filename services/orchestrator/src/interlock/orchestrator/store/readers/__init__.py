"""Queries, one transaction each: `runs`, `events`, `approvals`, `others`.

Lists page by key: pass the last id or number of a page as `after` to get the next; `limit` is at most 1,000.
All raise DATABASE_UNAVAILABLE when the database cannot be reached.
"""

from typing import Final

MAX_PAGE: Final = 1000


def page(limit: int) -> int:
    """The limit, between 1 and MAX_PAGE."""
    return max(1, min(limit, MAX_PAGE))

"""Certificates."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from interlock.cli.certs.directory import Certificate
from interlock.cli.output import write_json, write_table
from interlock.cli.settings import Output, Settings


def show_certificates(settings: Settings, found: Sequence[Certificate], now: datetime) -> None:
    """What each is for, and how long it is still good."""
    if settings.output is not Output.TABLE:
        rows = [
            {
                "name": each.name,
                "path": str(each.path),
                "names": list(each.names),
                "expires": each.expires.isoformat().replace("+00:00", "Z"),
                "daysLeft": (each.expires - now).days,
                "ours": each.ours,
            }
            for each in found
        ]
        write_json({"certificates": rows}, settings.output)
        return
    write_table(
        ("NAME", "UNTIL", "FOR", "FILE"),
        [
            (each.name, _until(each, now), ", ".join(each.names) or "signing the others", str(each.path))
            for each in found
        ],
    )


def _until(each: Certificate, now: datetime) -> str:
    if not each.ours:
        return "of another authority"
    left = (each.expires - now).days
    day = each.expires.strftime("%Y-%m-%d")
    return f"{day}, expired" if each.expires <= now else f"{day}, {left} days"

"""Keeps docs/errors/ current with the table of reasons: `error_docs.py [--check]`.

Each page has a part written from the table (between the marks) and parts by hand: when it happens, and an example.
A page that is missing is begun. With `--check` nothing changes, and the exit code is 1 when something would.
"""

from __future__ import annotations

import sys
from pathlib import Path

from interlock.common.reasons import TABLE, Reason

FOLDER = Path(__file__).resolve().parents[1] / "docs/errors"
BEGIN = "<!-- begin: written by scripts/error_docs.py -->"
END = "<!-- end: written by scripts/error_docs.py -->"
WHEN = "## When it happens"


def head(reason: Reason) -> str:
    """The part that comes from the table, marks included."""
    info = TABLE[reason]
    return "\n".join(
        [
            f"# {reason.value}",
            "",
            BEGIN,
            info.meaning,
            "",
            "| | |",
            "|---|---|",
            f"| gRPC code | `{info.code}` |",
            f"| the same request may succeed later | {'yes' if info.retryable else 'no'} |",
            f"| what to do | {info.fix} |",
            END,
        ]
    )


def page(reason: Reason, known: str | None) -> str:
    """The page with its first part renewed; what was written by hand is kept."""
    if known is None:
        return f"{head(reason)}\n\n{WHEN}\n\n"
    return head(reason) + known.partition(END)[2]


def index() -> str:
    """The list of all pages."""
    rows = [f"| [{r.value}]({r.value}.md) | `{i.code}` | {i.meaning} |" for r, i in TABLE.items()]
    return "\n".join(
        [
            "# Errors",
            "",
            "Every failed call carries a `google.rpc.ErrorInfo` with the domain `interlock.v1` and one of these",
            "reasons, often with metadata that names what it is about. A step that failed has one in `failure.reason`.",
            "",
            "| reason | gRPC code | meaning |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def wanted() -> dict[Path, str]:
    """Every file and what it should be."""
    files = {FOLDER / "README.md": index()}
    for reason in TABLE:
        path = FOLDER / f"{reason.value}.md"
        files[path] = page(reason, path.read_text() if path.exists() else None)
    return files


def main() -> int:
    """Writes or checks the pages."""
    stale = {p: text for p, text in wanted().items() if not p.exists() or p.read_text() != text}
    if "--check" not in sys.argv[1:]:
        FOLDER.mkdir(parents=True, exist_ok=True)
        for path, text in stale.items():
            path.write_text(text)
        return 0
    for path in stale:
        sys.stderr.write(f"docs/errors/{path.name} is not current: run python scripts/error_docs.py\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())

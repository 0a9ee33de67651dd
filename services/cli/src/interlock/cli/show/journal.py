"""Events and bundles."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from interlock.cli.errors import FAILED, OK
from interlock.cli.output import show_list, write_json
from interlock.cli.safe import escape
from interlock.cli.settings import Output, Settings
from interlock.cli.show.proofs import signature_line
from interlock.cli.text import counted
from interlock.common.errors import InterlockError, Reason
from interlock.v1.journal_pb2 import JournalEvent
from interlock.verify import Report, heads, verify_bundle, verify_file
from interlock.verify.bundle import MAX_LINE_BYTES, verify_family
from interlock.verify.lines import split_lines
from interlock.verify.link import Origin
from interlock.verify.signed import Keys

_MOST_GENERATIONS = 100
_FOREIGN = {
    "empty": "is empty; a journal bundle has at least a header and an end line.",
    "binary": "is a binary file, not a journal bundle.",
    "json": "is JSON, but not a journal bundle, or its first line was changed.",
    "text": "is text, but not a journal bundle, or its first line was changed.",
}
_WRITE_ONE = "`interlock journal export RUN --file FILE` writes a bundle; `verify RUN` needs none."


def list_events(settings: Settings, events: Iterable[JournalEvent]) -> None:
    """A run's events."""
    show_list(
        settings,
        "events",
        events,
        ("SEQ", "AT", "TYPE", "STEP", "DIGEST", "DATA"),
        lambda e: (
            str(e.seq),
            e.at.ToDatetime().strftime("%H:%M:%S.%f")[:-3],
            e.type,
            str(e.step) if e.step else "",
            e.digest.removeprefix("sha256:")[:12],
            event_summary(e.canonical_json, e.texts),
        ),
        empty="No events.",
    )


def event_summary(canonical: bytes, texts: Mapping[str, str] | None = None) -> str:
    """The event's data in one short line; with the texts that it commits to by digest."""
    try:
        data = _with_texts(json.loads(canonical)["data"], texts or {})
    except (ValueError, KeyError, TypeError):
        return ""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text if len(text) <= 160 else text[:159] + "…"


def _with_texts(data: Any, texts: Mapping[str, str]) -> Any:
    if not isinstance(data, dict):
        return data
    out = {}
    for key, value in data.items():
        if isinstance(value, str) and value in texts:
            out[key.removesuffix("_payload")] = texts[value]
        else:
            out[key] = _with_texts(value, texts)
    return out


async def write_bundle(chunks: AsyncIterator[bytes], path: str) -> int:
    """Write a bundle to a file, complete or not at all, or to standard output. Returns its size."""
    if path == "-":
        size = 0
        async for chunk in chunks:
            sys.stdout.buffer.write(chunk)
            size += len(chunk)
        sys.stdout.buffer.flush()
        return size
    parts = [chunk async for chunk in chunks]
    target = Path(path)
    temporary = target.with_name(target.name + ".part")
    try:
        _write(temporary, parts)
        temporary.replace(target)
    except OSError as error:
        raise InterlockError(
            Reason.INVALID_ARGUMENT, f"Cannot write {path}: {error.strerror}.", field="file"
        ) from None
    return sum(map(len, parts))


def _write(path: Path, parts: Iterable[bytes]) -> None:
    with open(path, "wb") as file:
        file.writelines(parts)


def is_run_id(target: str) -> bool:
    """Whether a run is meant, and not a file."""
    return target.startswith("run-") and not Path(target).exists()


def known_heads(given: Sequence[str], path: str) -> list[heads.Head]:
    """Heads known from elsewhere: `sha256:…` or `sha256:…@N`, and those in a file. Raises INVALID_ARGUMENT."""
    try:
        known = [heads.parse(each) for each in given]
        return known + (heads.read(path) if path else [])
    except ValueError as error:
        field = "heads" if path else "head"
        raise InterlockError(Reason.INVALID_ARGUMENT, f"{error}.", field=field) from None
    except OSError as error:
        raise InterlockError(
            Reason.INVALID_ARGUMENT, f"Cannot read {path}: {error.strerror}.", field="heads"
        ) from None


def verify_path(
    path: str, known: Sequence[heads.Head] = (), parents: Sequence[str] = (), keys: Keys | None = None
) -> Report:
    """Verify a bundle file, and a fork's with those of its parents.

    Raises INVALID_ARGUMENT when one cannot be read, and when the file is no bundle at all.
    """
    try:
        if path == "-" and not parents:
            lines = iter(lambda: sys.stdin.buffer.readline(MAX_LINE_BYTES), b"")
            report = verify_bundle(lines, heads=known, keys=keys)
        else:
            report = verify_file(path, parents=parents, heads=known, keys=keys)
    except OSError as error:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"Cannot read {error.filename or path}: {error.strerror}.",
            field="target",
            fix="Name a bundle file or a run id.",
        ) from None
    if report.foreign:
        name = "Standard input" if path == "-" else path
        raise InterlockError(
            Reason.INVALID_ARGUMENT, f"{name} {_FOREIGN[report.foreign]}", field="target", fix=_WRITE_ONE
        )
    return report


async def verify_run(
    settings: Settings, run_id: str, known: Sequence[heads.Head] = (), keys: Keys | None = None
) -> Report:
    """Export a run's journal and verify it against the head the orchestrator reports."""
    from interlock.cli.beginnings import find_run
    from interlock.cli.session import connect

    async with connect(settings) as client:
        run = await client.get_run(await find_run(client, run_id), without_steps=True)
        line, bundles = run, []
        while True:
            bundles.append([chunk async for chunk in client.export_journal(line.run_id)])
            if not line.origin.run_id or len(bundles) == _MOST_GENERATIONS:
                break
            line = await client.get_run(line.origin.run_id, without_steps=True)
    child, *parents = [split_lines(chunks) for chunks in bundles]
    report = verify_family(child, parents, heads=known, keys=keys)
    if run.journal_length == report.events and run.journal_head != report.head:
        report.add(0, "bundle", f"its head is not the run's, {run.journal_head}")
    return report


def _origin_text(report: Report, origin: Origin) -> str:
    line = f"A fork of {origin.run_id} after event {origin.seq}, {origin.head}"
    if report.linked:
        return f"{line}; compared with {', '.join(report.linked)}"
    return f"{line}; not compared with its journal (--parent names that one's bundle)"


def show_report(settings: Settings, report: Report) -> int:
    """Print what was found; returns the exit code."""
    if settings.output is Output.TABLE:
        for problem in report.problems:
            print(escape(str(problem)), file=sys.stderr)
        if report.origin is not None:
            print(escape(_origin_text(report, report.origin)))
        if report.noted:
            print(f"Compared with {counted(report.noted, 'head')} known from elsewhere")
        for each in report.erased:
            print(escape(f"Erased: {each}"))
        if line := signature_line(report):
            print(line)
        verdict = "Verified" if report.ok else f"NOT verified ({counted(len(report.problems), 'problem')})"
        print(
            escape(
                f"{verdict}: {report.run_id}, {report.events} events, {report.payloads} payloads, "
                f"head {report.head}"
            )
        )
    else:
        problems = [{"line": p.line, "where": p.where, "message": p.message} for p in report.problems]
        value: dict[str, Any] = {
            "ok": report.ok,
            "runId": report.run_id,
            "events": report.events,
            "payloads": report.payloads,
            "noted": report.noted,
            "erased": report.erased,
            "signedBy": report.signed_by,
            "anchors": report.anchors,
            "signaturesChecked": report.checked,
        }
        if report.origin is not None:
            origin = {"runId": report.origin.run_id, "seq": report.origin.seq, "head": report.origin.head}
            value["origin"] = {**origin, "compared": bool(report.linked)}
        write_json({**value, "head": report.head, "problems": problems}, settings.output)
    return OK if report.ok else FAILED

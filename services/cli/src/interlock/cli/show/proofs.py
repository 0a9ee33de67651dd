"""Keys, signatures and anchors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from interlock.cli.output import message_dict, show_list, write_json
from interlock.cli.settings import Output, Settings
from interlock.cli.text import counted
from interlock.common import journal_keys
from interlock.common.errors import InterlockError, Reason
from interlock.v1.journal_pb2 import Anchor
from interlock.v1.orchestrator_pb2 import EraseFromRunResponse
from interlock.verify.report import Report
from interlock.verify.signed import Keys, read_keys


def public_keys(paths: Sequence[str]) -> Keys | None:
    """The keys in files; None when none is named. Raises INVALID_ARGUMENT."""
    if not paths:
        return None
    try:
        return read_keys(paths)
    except ValueError as error:
        message = f"{error}."
    except OSError as error:
        message = f"Cannot read {error.filename}: {error.strerror}."
    fix = "`interlock journal keygen FILE` writes the public key to FILE.pub."
    raise InterlockError(Reason.INVALID_ARGUMENT, message, field="key", fix=fix)


def made_key(settings: Settings, file: str) -> None:
    """Makes a key and says what it is called."""
    path = Path(file)
    name = journal_keys.generate(path)
    if settings.output is not Output.TABLE:
        write_json({"keyId": name, "privateKey": str(path), "publicKey": f"{path}.pub"}, settings.output)
        return
    print(f"{name}: INTERLOCK_JOURNAL_KEY_FILE={path} signs; {path}.pub is for whoever verifies.")


def show_erased(settings: Settings, done: EraseFromRunResponse) -> None:
    """What was erased, and in which journals it says so."""
    if settings.output is not Output.TABLE:
        write_json(message_dict(done), settings.output)
        return
    if not done.erased:
        print("Nothing was left to erase.")
        return
    for digest in done.erased:
        print(digest)
    print(f"Erased {counted(len(done.erased), 'payload')}; said in the journal of {', '.join(done.run_ids)}.")


def list_anchors(settings: Settings, anchors: Iterable[Anchor]) -> None:
    """Anchors, newest first."""
    show_list(
        settings,
        "anchors",
        anchors,
        ("NUMBER", "AT", "RUNS", "POSITION", "KEY", "ROOT"),
        lambda a: (
            str(a.number),
            a.at.ToDatetime().strftime("%Y-%m-%d %H:%M:%S"),
            str(a.heads),
            str(a.position),
            a.key_id,
            a.root,
        ),
        empty="No anchors: set INTERLOCK_JOURNAL_KEY_FILE (`interlock journal keygen FILE`).",
    )


def signature_line(report: Report) -> str:
    """What is known of who signed; empty where nobody did."""
    if not report.signed_by:
        return ""
    anchors = f", {counted(report.anchors, 'anchor')}" if report.anchors else ""
    how = "signatures checked" if report.checked else "not checked: --key FILE names the public key"
    return f"Signed with {report.signed_by}{anchors}; {how}"

"""Documents that are written from the code are current, and every reason and decision has its page."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from interlock.common.reasons import TABLE, Reason
from interlock.v1 import error_reason_pb2

ROOT = Path(__file__).resolve().parents[2]
ERRORS, DECISIONS = ROOT / "docs/errors", ROOT / "docs/decisions"


@pytest.mark.parametrize("script", ["state_machine_doc", "journal_doc", "error_docs"])
def test_what_is_written_from_the_code_is_current(script: str) -> None:
    made = subprocess.run(
        [sys.executable, f"scripts/{script}.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (made.returncode, made.stderr) == (0, "")


def test_every_reason_of_the_wire_has_a_page_and_no_other() -> None:
    wire = {
        name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name
    }
    assert {reason.value for reason in Reason} == wire - {"UNSPECIFIED"}
    assert {path.stem for path in ERRORS.glob("*.md")} - {"README"} == {reason.value for reason in Reason}


@pytest.mark.parametrize("reason", list(Reason))
def test_a_page_says_when_it_happens(reason: Reason) -> None:
    page = (ERRORS / f"{reason.value}.md").read_text()
    when = page.partition("## When it happens")[2].partition("## Example")[0]
    assert len(when.split()) >= 6, "nothing is said about when it happens"
    assert f"`{TABLE[reason].code}`" in page
    assert page.count("```") % 2 == 0


def test_decisions_are_numbered_and_listed() -> None:
    records = sorted(path for path in DECISIONS.glob("[0-9]*.md"))
    assert [int(path.name[:4]) for path in records] == list(range(1, len(records) + 1))
    index = (DECISIONS / "README.md").read_text()
    for path in records:
        title = path.read_text().splitlines()[0]
        assert title.startswith(f"# {path.name[:4]} ")
        assert f"({path.name}) | {title[7:]} |" in index
        assert "**Decided.**" in path.read_text()


def test_links_between_documents_lead_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)} → {target}"
        for page in (ROOT / "docs").rglob("*.md")
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []

"""The README's demonstration, run as it is pasted: it prints what it says, and the directory is as it says."""

from __future__ import annotations

import re

import pytest
from tests.support.installation import Installation
from tests.support.pages import DOCS, Page

pytestmark = pytest.mark.slow

SECTION = "Before it happens"
README = DOCS.parent / "README.md"


def pairs() -> list[tuple[str, str]]:
    """Each shell block of the section with the output that the README shows after it."""
    text = README.read_text(encoding="utf-8").partition(f"## {SECTION}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```sh\n(.*?)^```$.*?^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def printed(up: Installation) -> list[str]:
    """What each block printed."""
    page = Page("../README.md", up, only=SECTION)
    parts = page.output.split(f"@@@@{SECTION}\n")[1:]
    assert len(parts) == len(page.blocks)
    return parts


def test_every_block_has_its_output_in_the_readme() -> None:
    shown = pairs()
    assert len(shown) == 4
    for (code, _), words in zip(
        shown, ("run exec", "approvals reject", "run exec", "run rollback"), strict=True
    ):
        assert f"interlock {words} " in code


def test_what_is_shown_is_what_is_printed_in_its_order(printed: list[str]) -> None:
    for (code, shown), got in zip(pairs(), printed, strict=True):
        rest = got.splitlines()
        for line in shown.splitlines():
            assert line in rest, f"after\n{code}\nthe README shows {line!r}; printed was\n{got}"
            rest = rest[rest.index(line) + 1 :]


def test_rejected_nothing_had_changed_and_undone_it_is_as_before(printed: list[str]) -> None:
    _, rejected, approved, undone = printed
    assert "is REJECTED" in rejected
    assert rejected.endswith("\nm1.py\nm2.py\n")
    assert "COMPLETED" in approved
    assert approved.endswith("\nlib\n")
    assert undone.endswith("\nm1.py\nm2.py\n")

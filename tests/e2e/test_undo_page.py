"""docs/undo.md as a person would run it: a destructive command previewed, rejected, approved, undone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.support.installation import Installation
from tests.support.pages import Page

pytestmark = pytest.mark.slow

Section = Callable[[str], str]


@pytest.fixture(scope="module")
def page(up: Installation) -> Page:
    return Page("undo.md", up)


def test_every_block_stands_under_a_heading_that_is_checked_here(page: Page) -> None:
    assert page.headings == [
        "",
        "The command is previewed",
        "Rejected, it never happened",
        "Approved, it is exactly what was shown",
        "What an undo would do",
        "Undone",
    ]


def test_the_preview_shows_what_would_go_and_the_directory_still_has_it(page: Page) -> None:
    text = page.said("The command is previewed")
    assert "exit code 3: waits for approval" in text
    for line in ("deleted src/m1.py", "added lib/new.py", "-print(3)", "+print(0)", "ended:   exit code 0"):
        assert line in text
    assert text.endswith("m1.py\nm2.py\nm3.py\n")


def test_after_the_rejection_nothing_has_changed(page: Page) -> None:
    text = page.said("Rejected, it never happened")
    assert "exit code 4: rejected" in text
    assert text.endswith("m1.py\nm2.py\nm3.py\n")


def test_the_approved_layer_is_published(page: Page) -> None:
    text = page.said("Approved, it is exactly what was shown")
    assert text.endswith(":\nlib\n\n" + text.splitlines()[-2] + "\nnew.py\n")
    assert "m1.py" not in text.splitlines()


def test_a_dry_run_shows_what_would_come_back_and_changes_nothing(page: Page) -> None:
    text = page.said("What an undo would do")
    assert "added src/m1.py" in text
    assert "deleted lib/new.py" in text
    assert "-print(0)" in text
    assert text.splitlines()[-1] == "lib"


def test_the_undo_brings_every_file_back_and_the_journal_verifies(page: Page) -> None:
    text = page.said("Undone")
    listed, verified = text.split("m3.py\n", 1)[0], text.rsplit("m3.py\n", 1)[1]
    assert "lib" not in listed.split(":\n", 1)[1].split()
    assert "src" in listed.split(":\n", 1)[1].split()
    assert "verified" in verified.lower()

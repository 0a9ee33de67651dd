"""docs/cookbook.md as a person would run it: its shell blocks, in order, in one bash, with the real grpcurl."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from tests.support.installation import Installation
from tests.support.pages import Page

pytestmark = pytest.mark.slow

Section = Callable[[str], str]


@pytest.fixture(scope="module")
def page(up: Installation) -> Page:
    return Page("cookbook.md", up)


@pytest.fixture(scope="module")
def said(page: Page) -> Section:
    """What each section wrote."""
    for unwanted in ("Failed to", "VALIDATION_FAILED"):
        assert unwanted not in page.output, page.output
    return page.said


def test_every_block_of_the_page_stands_under_a_heading_that_is_checked_here(page: Page) -> None:
    assert page.headings == [
        "",
        "Look around",
        "Make a directory a workspace",
        "Prepare and apply a step by hand",
        "A run with approvals",
        "Undo",
    ]


def test_services_describe_themselves_and_refuse_who_has_no_token(said: Section) -> None:
    text = said("Look around")
    assert "interlock.v1.Orchestrator" in text
    assert "PrepareRequest is a message" in text
    assert '"status": "SERVING"' in text
    assert '"backend": "bubblewrap"' in text
    assert "small and often wrong" in text
    assert '"reason":"UNAUTHENTICATED"' in text
    assert text.splitlines()[-1] == "refused"


def test_a_directory_is_listed_and_read(said: Section) -> None:
    text = said("Make a directory a workspace")
    assert re.search(r'"workspace_?[iI]d": "ws-\w{26}"', text)
    assert '"path": "sums.py"' in text
    assert "ZGVmIGFkZChhLCBiKToKICAgIHJldHVybiBhICsgYgo=" in text


def test_the_file_changes_only_after_the_digest_that_was_shown_is_applied(said: Section) -> None:
    text = said("Prepare and apply a step by hand")
    before, refused, after = (
        text.index("\ndef add(a, b):\n    return a + b\n"),
        text.index('"reason":"EFFECT_DIGEST_MISMATCH"'),
        text.index('\ndef add(a, b):\n    """The sum."""\n    return a + b\n'),
    )
    assert before < text.index("another digest is refused") < after
    assert before < refused < after
    assert r"+    \"\"\"The sum.\"\"\"\n" in text[:before]
    assert '"state": "EFFECT_STATE_DISCARDED"' in text
    assert text.endswith("sums.py\n")


def test_the_run_waits_twice_and_completes(said: Section) -> None:
    text = said("A run with approvals")
    subscribed, decided = text.split("stopped listening\n")
    assert "+import sums" in subscribed
    assert "APPROVAL_STATE_PENDING" in subscribed
    assert decided.count("APPROVAL_STATE_APPROVED") == 2
    types = re.findall(r'"type": "([a-z_.]+)"', decided)
    assert types[0] == "run.created"
    assert types[-1] == "run.completed"
    assert types.count("approval.decided") == types.count("step.succeeded") == 2
    assert '"head": "Mwo="' in decided, "the command printed 3"
    assert '"total": {' in decided


def test_the_undo_gives_the_tree_from_before_the_run(said: Section) -> None:
    text = said("Undo")
    base, head = (re.findall(rf'"{name}_?[tT]ree": "(sha256:\w+)"', text) for name in ("base", "head"))
    assert set(base) == set(head)
    assert '"path": "use.py"' in text
    assert text.endswith("sums.py\n")
    assert "use.py\n" not in text

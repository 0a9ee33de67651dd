"""docs/cookbook.md as a person would run it: its shell blocks, in order, in one bash, with the real grpcurl."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.installation import Installation

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "cookbook.md"
MARK = "@@@@"

pytestmark = pytest.mark.slow

Section = Callable[[str], str]


def blocks() -> list[tuple[str, str]]:
    """Each block with the heading it stands under."""
    found, heading = [], ""
    pattern = re.compile(r"^## (?P<heading>[^\n]*)$|^```sh\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
    for match in pattern.finditer(PAGE.read_text(encoding="utf-8")):
        heading = match["heading"] or heading
        if match["code"]:
            found.append((heading, match["code"]))
    return found


@pytest.fixture(scope="module")
def said(up: Installation) -> Section:
    """What each section wrote, standard output and standard error together."""
    script = "set -u\n" + "".join(f"echo '{MARK}{heading}'\n{code}" for heading, code in blocks())
    binaries = Path(sys.executable).parent
    env = {
        **up.env,
        **{service.upper(): address for service, address in up.endpoints.items()},
        "PATH": f"{binaries}:/usr/bin:/bin",
        "TMPDIR": str(up.home),
    }
    done = subprocess.run(
        ["/bin/bash", "-c", script], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    for unwanted in ("sed:", "unbound variable", "command not found", "Failed to", "VALIDATION_FAILED"):
        assert unwanted not in done.stdout, done.stdout
    sections: dict[str, str] = {}
    for part in done.stdout.split(MARK)[1:]:
        heading, _, text = part.partition("\n")
        sections[heading] = sections.get(heading, "") + text
    return sections.__getitem__


def test_every_block_of_the_page_stands_under_a_heading_that_is_checked_here() -> None:
    headings = [heading for heading, _ in blocks()]
    assert list(dict.fromkeys(headings)) == [
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

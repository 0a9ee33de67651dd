"""The examples, run as their README says, beside real services."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.installation import Installation, snapshot, wait_until
from tests.support.working import ended, pending, start, state

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

pytestmark = pytest.mark.slow


class Bot:
    """A running example, and what it has written."""

    def __init__(self, log: Path) -> None:
        self._log = log

    @property
    def text(self) -> str:
        return self._log.read_text(encoding="utf-8")

    async def says(self, text: str) -> None:
        await asyncio.to_thread(wait_until, lambda: text in self.text, what=f"{text!r} from a bot")
        assert "Traceback" not in self.text


@contextmanager
def bot(up: Installation, log: Path, name: str, *arguments: str) -> Iterator[Bot]:
    """An example as a process, until the end of the block."""
    command = [sys.executable, "-u", str(EXAMPLES / name), *arguments]
    with (
        open(log, "w", encoding="utf-8") as output,
        subprocess.Popen(command, env=up.env, stdout=output, stderr=subprocess.STDOUT) as process,
    ):
        try:
            yield Bot(log)
        finally:
            process.terminate()


def test_the_readme_lists_every_example() -> None:
    readme = (EXAMPLES / "README.md").read_text()
    listed = set(re.findall(r"^\| \[([^\]]+)\]\(\1\)", readme, re.MULTILINE))
    folders = tuple(re.findall(r"^\| \[([^\]]+/)\]\(\1README\.md\)", readme, re.MULTILINE))
    files = {name for name, (_, content) in snapshot(EXAMPLES).items() if content is not None}
    assert {f"{folder}README.md" for folder in folders} <= files
    assert listed == {n for n in files if "__pycache__" not in n and not n.startswith(folders)} - {
        "README.md"
    }


async def test_the_smallest_approver_approves_what_it_prints(up: Installation, tmp_path: Path) -> None:
    project = up.project()
    with bot(up, tmp_path / "log", "approver.py") as approver:
        async with up.client() as client:
            run = await start(client, project, '{edit_file: {path: b.txt, new_content: "new\\n"}}')
            assert state(await ended(client, run)) == "COMPLETED"
        await approver.says("+new")


async def test_the_bot_with_rules_approves_rejects_and_leaves_to_a_person(
    up: Installation, tmp_path: Path
) -> None:
    files = {f"src/f{number}.txt" for number in range(12)}
    project = up.project(**{name.replace("/", "___").replace(".", "__"): "x\n" for name in files})
    harmless = '{edit_file: {path: docs/a.md, new_content: "new\\n"}}'
    deletion = "{run_command: {command: rm -r src}, gate: effect}"
    with bot(up, tmp_path / "log", "rules_bot.py", "docs/*") as rules:
        async with up.client() as client:
            run = await ended(client, await start(client, project, harmless, deletion), 30)
            other = await start(client, up.project(), '{edit_file: {path: a.py, new_content: "new\\n"}}')
            await rules.says("left to a person - 'a.py is not one of docs/*'")
            await client.decide(await pending(client, other), "reject")
    assert state(run) == "FAILED"
    assert "deletes 13 files and directories" in run.failure.message
    assert set(snapshot(project)) == {"docs", "docs/a.md", "src", *files}

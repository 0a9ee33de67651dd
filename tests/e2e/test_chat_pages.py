"""The blocks of docs/bots.md and of docs/webhooks.md, run on a real installation.

What checks a webhook's signature is run by tests/unit/test_docs_webhooks.py; the login at a homeserver by the interop
tests, which have one.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.installation import Installation
from tests.support.working import ended, start
from tests.support.working import state as state_of
from typer.testing import CliRunner

from interlock.cli.main import app
from interlock.matrix.settings import load
from interlock.v1.role_pb2 import Role
from interlock.v1.workspace_pb2 import DirectorySource, WorkspaceSource

DOCS = Path(__file__).resolve().parents[2] / "docs"


def fenced(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize(
    ("answer", "state", "content"), [("yes", "COMPLETED", "new\n"), ("no", "FAILED", "old\n")]
)
async def test_the_ten_lines_decide(up: Installation, answer: str, state: str, content: str) -> None:
    (bot,) = fenced("bots.md", "python")
    project = up.project(a__txt="old\n")
    label = {"page": uuid.uuid4().hex}
    async with up.client() as client:
        # The bot sees this workspace alone: the installation is shared with other tests.
        directory = WorkspaceSource(directory=DirectorySource(path=str(project)))
        await client.create_workspace(directory, label)
        token = (await client.create_token("boss", [Role.ROLE_APPROVER], scope=label)).text
        run = await start(client, project, '{edit_file: {path: a.txt, new_content: "new\\n"}}')
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", bot),
            env={**up.env, "INTERLOCK_TOKEN": token},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            assert process.stdin is not None
            process.stdin.write(f"{answer}\n".encode())
            done = await ended(client, run)
            approval = await client.get_approval(done.steps[0].approval_id)
        finally:
            process.kill()
            said = (await process.communicate())[0].decode()
    assert state_of(done) == state
    assert (project / "a.txt").read_text() == content, said
    decision = approval.decision
    assert (decision.subject, decision.channel, decision.comment) == ("boss", "my-bot", answer)
    assert "+new" in said


def told(up: Installation, line: str, place: Path) -> str:
    """What a line of a page prints: `interlock` in this process, its output in a file where the line says so."""
    line, _, file = line.partition(" > ")
    env: dict[str, str | None] = {name: up.env.get(name) for name in {*os.environ, *up.env}}
    done = CliRunner().invoke(app, shlex.split(line)[1:], env=env, prog_name="interlock")
    assert done.exit_code == 0, (line, done.stderr)
    if file:
        (place / file).write_text(done.stdout)
        (place / file).chmod(0o600)
    return done.stdout + done.stderr


def test_the_matrix_bots_settings_and_tokens(up: Installation, tmp_path: Path) -> None:
    text = (DOCS / "bots.md").read_text(encoding="utf-8")
    lines = re.findall(r"^    (interlock token create .*)$", text, re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        told(up, line, tmp_path)
    (block,) = fenced("bots.md", "yaml")
    settings: dict[str, Any] = yaml.safe_load(block.replace("…", "x"))
    (person,) = settings["people"].values()
    person["token_file"] = str(tmp_path / "ada.token")
    file = tmp_path / "matrix.yaml"
    file.write_text(yaml.safe_dump(settings))
    file.chmod(0o600)
    found = load(file, up.env)
    (ada,) = found.people.values()
    assert ada.subject == "ada@example.org"
    assert ada.token == (tmp_path / "ada.token").read_text().strip()
    assert [dict(each.workspace_labels) for each in found.rooms] == [{}, {"team": "payments"}]
    who = told(up, f"interlock whoami --token {ada.token} -o json", tmp_path)
    assert json.loads(who)["subject"] == ada.subject


def test_the_webhooks_commands(up: Installation, tmp_path: Path) -> None:
    (block,) = fenced("webhooks.md", "sh")
    assert block.count("\n") == 6
    said, ids = "", {"whk-…": "", "whd-…": ""}
    for line in block.splitlines():
        command = line
        for name, value in ids.items():
            command = command.replace(name, value)
        said += told(up, command, tmp_path)
        for name in ids:
            ids[name] = (re.findall(name.replace("…", "[0-9a-z]+"), said) or [""])[-1]
    assert (tmp_path / "secret").read_text().startswith("whsec_")


def test_what_is_said_to_be_sent_is_what_is_sent() -> None:
    (request,) = fenced("webhooks.md", "http")
    head, _, body = request.partition("\n\n")
    assert {line.partition(":")[0] for line in head.splitlines()[1:]} == {
        "content-type", "webhook-id", "webhook-timestamp", "webhook-signature",
    }  # fmt: skip
    shown = json.loads(body.strip().replace(",…", ""))
    assert shown["type"] == "approval.requested"
    assert {"kind", "position", "runSeq", "runHead", "approval"} == set(shown["data"])

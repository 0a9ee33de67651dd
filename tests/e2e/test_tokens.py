"""Issued tokens on a whole installation, by the command line: what their holders can do, and what they cannot."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from tests.support.files_below import files_below
from tests.support.installation import INTERLOCK, Installation, wait_until
from tests.support.working import ended, pending, start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]

EDIT = '{edit_file: {path: a.py, new_content: "new\\n"}}'


class Person:
    """Somebody at a terminal with a token of their own."""

    def __init__(self, up: Installation, token: str) -> None:
        servers = {f"INTERLOCK_{name.upper()}_ADDRESS": at for name, at in up.endpoints.items()}
        # No data directory: this is another machine, which has the token and the addresses only.
        nowhere = {"INTERLOCK_DATA_DIR": str(up.home / "nowhere")}
        self.env = {**up.env, **servers, **nowhere, "INTERLOCK_TOKEN": token}

    def run(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [*INTERLOCK, *arguments], env=self.env, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout if code == 0 else done.stderr

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "-o", "json"))


def issue(up: Installation, subject: str, *options: str) -> Person:
    """The one who started it issues a token, as `$(interlock token create …)` would take it."""
    made = subprocess.run(
        [*INTERLOCK, "token", "create", "--subject", subject, *options],
        env=up.env, capture_output=True, text=True, timeout=100, check=True,
    )  # fmt: skip
    assert made.stdout.startswith("ilk_tok-")
    assert made.stdout.strip() not in made.stderr
    return Person(up, made.stdout.strip())


async def test_an_approver_approves_and_does_nothing_else(up: Installation) -> None:
    project = up.project(a__py="old\n")
    ada = issue(up, "ada", "--role", "approver", "--expires", "1h")
    me = ada.json("whoami")
    assert (me["subject"], me["roles"]) == ("ada", ["ROLE_APPROVER"])
    async with up.client() as client:
        run = await start(client, project, EDIT)
        shown = await pending(client, run)
        assert "PERMISSION_DENIED" in ada.run("run", "cancel", run.run_id, code=6)
        ada.run("approvals", "approve", shown.approval_id)
        done = await ended(client, run)
        decided = await client.get_approval(shown.approval_id)
    assert (project / "a.py").read_text() == "new\n"
    assert done.steps[0].state
    assert decided.decision.subject == "ada"
    assert decided.decision.authentication.startswith("token:tok-")


def test_what_was_refused_is_shown_to_an_admin(up: Installation) -> None:
    eve = issue(up, "eve", "--role", "viewer")
    eve.run("token", "list", code=6)
    admin = issue(up, "root@example.org", "--role", "admin")

    def seen() -> bool:
        denials = admin.json("token", "denials", "--subject", "eve")["denials"]
        return [each["rpc"] for each in denials] == ["interlock.v1.Access/ListTokens"]

    wait_until(seen)


def test_a_scope_is_kept_by_the_executor(up: Installation) -> None:
    ours, theirs = up.project(a__py="a\n"), up.project(b__py="b\n")
    local = issue(up, "maker", "--role", "operator")
    core = local.json("workspace", "create", str(ours), "--label", "team=core")["workspaceId"]
    other = local.json("workspace", "create", str(theirs), "--label", "team=other")["workspaceId"]
    bob = issue(up, "bob", "--role", "operator", "--scope", "team=core")
    listed = {each["workspaceId"] for each in bob.json("workspace", "list")["workspaces"]}
    assert core in listed
    assert other not in listed
    bob.run("workspace", "show", core)
    assert "team=core" in bob.run("workspace", "show", other, code=6)
    new = up.project(c__py="c\n")
    assert "--label" in bob.run("workspace", "create", str(new), code=6)
    refused = bob.run("workspace", "create", str(new), "--label", "team=core", code=6)
    assert "INTERLOCK_SCOPE_DIRECTORIES" in refused, "the label is no leave to name any directory"
    bob.run("workspace", "du", code=6)


def test_a_revoked_token_is_of_no_use(up: Installation) -> None:
    ada = issue(up, "ada", "--role", "admin")
    token_id = ada.env["INTERLOCK_TOKEN"].split("_")[1]
    ada.run("token", "revoke", token_id)

    def refused() -> bool:
        done = subprocess.run(
            [*INTERLOCK, "whoami"], env=ada.env, capture_output=True, text=True, check=False
        )
        return done.returncode == 6 and "not accepted" in done.stderr

    wait_until(refused)


def test_no_token_is_in_a_log_or_a_database(up: Installation) -> None:
    ada = issue(up, "ada", "--role", "viewer")
    ada.run("whoami")
    ada.run("token", "list", code=6)
    secret = ada.env["INTERLOCK_TOKEN"].split("_", 2)[2].encode()
    for file, data in files_below(up.home):
        assert secret not in data, file

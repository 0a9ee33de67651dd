"""What was not approved does not happen; what was approved can be undone; the user's own git is nobody's business."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.installation import Installation, snapshot
from tests.support.working import approve, ended, events, pending, start, state, states

from interlock.client import Client

pytestmark = pytest.mark.slow

DESTROY = (
    "{run_command: {command: 'rm -rf src && echo gone > note.txt && chmod 600 run.sh; ls'}, gate: effect}"
)


@pytest.fixture
async def client(up: Installation) -> AsyncIterator[Client]:
    async with up.client() as opened:
        yield opened


@pytest.fixture
def project(up: Installation) -> Path:
    """A small project under git, with a link, an executable and a file that git does not know."""
    directory = up.project(src___a__py="a\n", src___deep___b__py="b\n", run__sh="#!/bin/sh\n", loose="l\n")
    (directory / "run.sh").chmod(0o755)
    (directory / "link").symlink_to("src/a.py")
    git(directory, "init", "-q")
    git(directory, "add", "src", "run.sh", "link")
    git(directory, "commit", "-qm", "first")
    return directory


def git(directory: Path, *arguments: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(
        ["git", *who, *arguments], cwd=directory, capture_output=True, text=True, check=True
    )
    return done.stdout


async def test_a_destructive_command_is_shown_whole_and_rejecting_it_leaves_every_byte(
    client: Client, project: Path
) -> None:
    before = snapshot(project)
    run = await start(client, project, DESTROY, "read_file: {path: loose}")
    shown = await pending(client, run)
    changes = {change.path: change.kind for change in shown.preview.changes}
    assert {"src/a.py", "src/deep/b.py", "note.txt", "run.sh"} <= set(changes)
    assert "-a\n" in shown.preview.diff
    assert b"note.txt" in shown.preview.stdout.head
    assert snapshot(project) == before, "it ran, but not here"
    await client.decide(shown, "reject", comment="not like this")
    run = await ended(client, run)
    assert (state(run), states(run)) == ("FAILED", ["REJECTED", "PENDING"])
    assert "not like this" in run.failure.message
    assert snapshot(project) == before


async def test_a_destructive_command_that_was_approved_can_be_rolled_back(
    client: Client, project: Path
) -> None:
    before = snapshot(project)
    run = await start(client, project, DESTROY)
    await approve(client, run)
    run = await ended(client, run)
    assert state(run) == "COMPLETED"
    assert not (project / "src").exists()
    assert (project / "note.txt").read_text() == "gone\n"
    undone = await client.rollback_run(run.run_id, comment="give it back")
    assert undone.head_tree == run.base_tree
    assert snapshot(project) == before
    assert (await events(client, run))[-1] == "run.rolled_back"


async def test_the_users_own_git_is_untouched_by_runs_and_undo(client: Client, project: Path) -> None:
    own = snapshot(project / ".git")
    status = git(project, "status", "--porcelain")
    own_after_status = snapshot(project / ".git")
    run = await start(
        client,
        project,
        '{edit_file: {path: src/a.py, new_content: "changed\\n"}}',
        "{run_command: {command: 'git log --oneline; echo x > src/new.py'}, gate: effect}",
    )
    await approve(client, run)
    shown = await approve(client, run)
    run = await ended(client, run)
    assert state(run) == "COMPLETED"
    assert b"first" in shown.preview.stdout.head, "steps see the repository"
    assert snapshot(project / ".git") == own_after_status
    assert "src/new.py" in git(project, "status", "--porcelain", "-uall")
    await client.rollback_run(run.run_id)
    assert git(project, "status", "--porcelain") == status
    assert git(project, "fsck", "--strict") == ""
    assert own.keys() == snapshot(project / ".git").keys()


async def test_skipping_and_cancelling_change_nothing_either(client: Client, project: Path) -> None:
    before = snapshot(project)
    run = await start(client, project, DESTROY, DESTROY)
    await client.decide(await pending(client, run), "skip")
    await pending(client, run)
    await client.cancel_run(run.run_id, "enough")
    run = await ended(client, run)
    assert (state(run), states(run)) == ("CANCELLED", ["SKIPPED", "CANCELLED"])
    assert snapshot(project) == before


async def test_only_the_steps_up_to_the_one_named_are_kept_by_a_rollback(
    client: Client, project: Path
) -> None:
    steps = [f'{{edit_file: {{path: f{n}.txt, new_content: "{n}\\n"}}}}' for n in (1, 2, 3)]
    run = await start(client, project, *steps)
    for _ in steps:
        await approve(client, run)
    await ended(client, run)
    await client.rollback_run(run.run_id, to_step=1)
    assert [name for name in snapshot(project) if name.startswith("f")] == ["f1.txt"]

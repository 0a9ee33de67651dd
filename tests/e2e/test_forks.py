"""Forks, comparisons and exports on a whole installation, through the command line, with real git."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import Observed
from tests.support.installation import INTERLOCK, Installation, snapshot
from tests.support.models import chat
from tests.support.working import approve, ended, start, state, states

from interlock.client import Client, InterlockError, Reason
from interlock.v1.fork_pb2 import CompareRunsResponse, StepRelation
from interlock.v1.run_pb2 import Run
from interlock.verify import verify_bundle

pytestmark = pytest.mark.slow

STEPS = (
    '{edit_file: {path: a.txt, new_content: "one\\n"}}',
    "{run_command: {command: 'cat a.txt; mkdir -p d; echo two > d/b.txt; chmod +x d/b.txt'}, gate: effect}",
    "read_file: {path: a.txt}",
    "{run_command: {command: 'rm a.txt; echo three > c.txt'}, gate: effect}",
)
RELATION = {number: name.removeprefix("STEP_RELATION_") for name, number in StepRelation.items()}


def interlock(up: Installation, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*INTERLOCK, *arguments], env=up.env, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def printed(up: Installation, *arguments: str) -> Any:
    return json.loads(interlock(up, *arguments, "-o", "json").stdout)


async def done(client: Client, directory: Path, *steps: str, edits: int = 3) -> Run:
    """A run of the steps, each asked about and approved."""
    run = await start(client, directory, *steps)
    for _ in range(edits):
        await approve(client, run)
    run = await ended(client, run)
    assert state(run) == "COMPLETED"
    return run


def exported(
    up: Installation, target: str, out: Path, *options: str, code: int = 0
) -> subprocess.CompletedProcess[str]:
    return interlock(up, "workspace", "export", target, "--out", str(out), *options, code=code)


def piped_tar(up: Installation, run: str) -> bytes:
    command = [*INTERLOCK, "workspace", "export", run, "--at", "0", "--format", "tar", "--out", "-"]
    return subprocess.run(command, env=up.env, capture_output=True, check=True).stdout


def untar(archive: Path, into: Path) -> None:
    subprocess.run(["tar", "-xp", "-C", into, "-f", archive], check=True)


def git(directory: Path, *arguments: str) -> str:
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    found = subprocess.run(
        ["git", "-C", str(directory), *arguments], capture_output=True, text=True, check=False, env=env
    )
    assert (found.returncode, found.stderr) == (0, "")
    return found.stdout


def relations(found: CompareRunsResponse) -> list[str]:
    return [RELATION[row.relation] for row in found.steps]


async def test_a_fork_goes_its_own_way_and_the_two_are_compared(up: Installation) -> None:
    async with up.client() as client:
        project = up.project(a__txt="zero\n", keep="k\n")
        parent = await done(client, project, *STEPS)
        before, journal = snapshot(project), (await client.get_run(parent.run_id)).journal_head
        out = up.home / f"{project.name}-fork"
        made = printed(up, "run", "fork", parent.run_id, "--at-step", "2", "--workspace-out", str(out))
        child = await client.get_run(made["runId"])
        assert states(child) == ["SUCCEEDED", "SUCCEEDED", "PENDING", "PENDING"]
        assert [step.inherited for step in child.steps] == [True, True, False, False]
        assert [step.approval_id for step in child.steps] == ["", "", "", ""]
        assert child.steps[1].effect.stdout.head == b"one\n"
        assert child.head_tree == child.origin.tree == parent.steps[1].head_tree
        assert sorted(snapshot(out)) == ["a.txt", "d", "d/b.txt", "keep"]

        await client.start_run(child.run_id)
        await approve(client, child)  # what was approved in the parent is asked about again
        child = await ended(client, child)
        assert state(child) == "COMPLETED"
        assert snapshot(out) == before
        assert (await client.get_run(parent.run_id)).journal_head == journal

        same = await client.compare_runs(parent.run_id, child.run_id)
        assert relations(same) == ["SHARED", "SHARED", "SAME", "SAME"]
        assert (same.first_difference, same.common_steps, same.shared_steps) == (0, 4, 2)
        assert (same.common_ancestor, same.trees.tree_a) == (parent.run_id, same.trees.tree_b)
        said = interlock(up, "run", "compare", parent.run_id, child.run_id).stdout
        assert "nowhere" in said
        assert f"with steps 1 to 2 of {parent.run_id}" in said
        assert "2 carried out once for both, 2 in each with the same result" in said

        from_the_start = await client.fork_run(parent.run_id, 0)
        said = interlock(up, "run", "compare", parent.run_id, from_the_start.run_id).stdout
        assert f"with the tree before the first step of {parent.run_id}" in said
        assert "no step, from the first on" in said

        await client.revert_step(child.run_id, 2)
        told = await client.compare_runs(parent.run_id, child.run_id)
        assert relations(told)[1] == "SHARED"
        assert [(d.field, d.a) for d in told.steps[1].differences] == [("undone", "")]


async def test_where_runs_part_is_shown(up: Installation) -> None:
    async with up.client() as client:
        project = up.project(a__txt="zero\n")
        parent = await done(client, project, *STEPS)
        child = await client.fork_run(parent.run_id, 1, without_plan=True)
        assert states(child) == ["SUCCEEDED"]
        other = parent.steps[1].spec
        other.input.run_command.command = "cat a.txt; echo else; exit 0"
        await client.add_steps(child.run_id, [other])
        await client.start_run(child.run_id)
        await approve(client, child)
        await ended(client, child)
        found = await client.compare_runs(parent.run_id, child.run_id)
        assert relations(found) == ["SHARED", "DIFFERENT", "ONLY_A", "ONLY_A"]
        assert found.first_difference == 2
        assert {d.field for d in found.steps[1].differences} == {"input", "stdout", "result_tree"}
        assert {change.path for change in found.trees.changes} == {"a.txt", "c.txt", "d", "d/b.txt"}
        table = interlock(up, "run", "compare", parent.run_id, child.run_id, "--diff").stdout
        assert re.search(r"they part: +at step 2: input", table)
        assert "-three" in table
        assert printed(up, "run", "compare", parent.run_id, child.run_id)["firstDifference"] == 2

        stranger = await done(client, up.project(x="x\n"), "read_file: {path: x}", edits=0)
        apart = await client.compare_runs(stranger.run_id, parent.run_id)
        assert relations(apart) == ["DIFFERENT", "ONLY_B", "ONLY_B", "ONLY_B"]
        assert (apart.common_ancestor, apart.common_steps) == ("", 0)
        assert {change.path for change in apart.trees.changes} == {"c.txt", "d", "d/b.txt", "x"}


async def test_bundles_of_a_fork_name_their_parent(up: Installation, tmp_path: Path) -> None:
    async with up.client() as client:
        parent = await done(client, up.project(a__txt="zero\n"), *STEPS)
        child = await client.fork_run(parent.run_id, 2)
        other = await done(client, up.project(a__txt="zero\n"), *STEPS)
    for name, run in (("parent", parent), ("child", child), ("other", other)):
        interlock(up, "journal", "export", run.run_id, "--file", str(tmp_path / name))
    alone = interlock(up, "journal", "verify", str(tmp_path / "child"))
    assert f"A fork of {parent.run_id}" in alone.stdout
    assert "not compared" in alone.stdout
    both = interlock(up, "journal", "verify", str(tmp_path / "child"), "--parent", str(tmp_path / "parent"))
    assert f"compared with {parent.run_id}" in both.stdout
    wrong = interlock(
        up, "journal", "verify", str(tmp_path / "child"), "--parent", str(tmp_path / "other"), code=1
    )
    assert f"fork: it is a fork of {parent.run_id}, not of {other.run_id}" in wrong.stderr
    assert "compared with" in interlock(up, "journal", "verify", child.run_id).stdout
    lines = (tmp_path / "child").read_bytes().splitlines(keepends=True)
    assert verify_bundle(lines).ok


async def test_the_history_as_a_repository(up: Installation, tmp_path: Path) -> None:
    async with up.client() as client:
        project = up.project(a__txt="zero\n", keep="k\n")
        parent = await done(client, project, *STEPS)
        child = await client.fork_run(parent.run_id, 2)
        one, two, forked = tmp_path / "one", tmp_path / "two", tmp_path / "forked"
        said = exported(up, parent.run_id, one, "--format", "git")
        assert "4 commits" in said.stderr
        assert "Not carried" not in said.stderr
        exported(up, str(project), two, "--run", parent.run_id, "--format", "git")
        exported(up, child.run_id, forked, "--format", "git")
        commits = git(one, "log", "--reverse", "--format=%H").split()
        assert git(two, "log", "--reverse", "--format=%H").split() == commits
        assert git(forked, "log", "--reverse", "--format=%H").split() == commits[:3]
        assert git(one, "fsck", "--strict") == ""
        assert git(one, "status", "--porcelain") == ""
        for step, commit in zip((1, 2, 4), commits[1:], strict=True):
            trailers = dict(
                line.split(": ", 1)
                for line in git(one, "log", "-1", "--format=%(trailers)", commit).splitlines()
                if line
            )
            known = parent.steps[step - 1]
            assert trailers["Interlock-Run"] == parent.run_id
            assert trailers["Interlock-Step"] == str(step)
            assert trailers["Interlock-Effect"] == known.effect.effect_digest
            assert trailers["Interlock-Approval"] == known.approval_id
            assert trailers["Interlock-Approved-By"] == "local"
            assert trailers["Interlock-Tree"] == known.head_tree
            out = up.project()
            git(one, f"--work-tree={out}", "read-tree", "-u", "--reset", commit)
            assert (await client.open_directory(out)).head_tree == known.head_tree
        shortened = tmp_path / "short"
        exported(up, parent.run_id, shortened, "--at", "3", "--format", "git")
        assert git(shortened, "rev-parse", "main").strip() == commits[2]


async def test_directories_and_archives(up: Installation, tmp_path: Path) -> None:
    async with up.client() as client:
        project = up.project(a__txt="zero\n", deep___x="x\n")
        (project / "void").mkdir(mode=0o700)
        (project / "link").symlink_to("a.txt")
        run = await done(client, project, *STEPS)
        out = up.home / f"{project.name}-at1"
        exported(up, run.run_id, out, "--at", "1")
        assert (await client.open_directory(out)).head_tree == run.steps[0].head_tree
        exported(up, run.run_id, tmp_path / "t", "--at", "0", "--format", "tar")
        assert piped_tar(up, run.run_id) == (tmp_path / "t").read_bytes()
        whole = up.project()
        untar(tmp_path / "t", whole)
        assert (await client.open_directory(whole)).head_tree == run.base_tree
        full = exported(up, run.run_id, project, code=2)
        assert "not an empty directory" in full.stderr
        late = exported(up, run.run_id, tmp_path / "n", "--at", "9", code=1)
        assert "STEP_WRONG_STATE" in late.stderr
        vague = exported(up, str(project), tmp_path / "n", "--at", "1", code=2)
        assert "run list" in vague.stderr
        assert sorted(os.listdir(tmp_path)) == ["t"]


async def test_a_tree_is_exported_by_its_id(up: Installation, tmp_path: Path) -> None:
    async with up.client() as client:
        project = up.project(a__txt="zero\n")
        run = await done(client, project, *STEPS)
        for number, target in enumerate((run.run_id, str(project), run.workspace_id)):
            exported(up, target, up.home / f"{project.name}-{number}", "--tree", run.steps[1].head_tree)
            written = await client.open_directory(up.home / f"{project.name}-{number}")
            assert written.head_tree == run.steps[1].head_tree
        out, unknown = tmp_path / "out", "sha256:" + "0" * 64
        assert "TREE_NOT_FOUND" in exported(up, str(project), out, "--tree", unknown, code=5).stderr
        assert exported(up, str(project), out, "--tree", "no tree", code=2).stderr
        at = exported(up, run.run_id, out, "--tree", run.base_tree, "--at", "1", code=2)
        assert "Leave one of them out" in at.stderr
        assert not out.exists()


async def test_later_steps_see_what_inherited_ones_showed(observed: Observed) -> None:
    async with observed.up.client() as client:
        project = observed.up.project(a__txt="the inherited content\n")
        observed.model.script(chat("The first reply."))
        parent = await done(
            client,
            project,
            "read_file: {path: a.txt}",
            "analyze: {instruction: what is it, context_keys: [step-1]}",
            edits=0,
        )
        child = await client.fork_run(parent.run_id, 2, without_plan=True)
        assert child.steps[1].reply == "The first reply."
        spec = parent.steps[1].spec
        spec.input.analyze.context_keys[:] = ["step-1", "step-2"]
        await client.add_steps(child.run_id, [spec])
        observed.model.script(chat("The second reply."))
        asked = len(observed.model.asked)
        await client.start_run(child.run_id)
        child = await ended(client, child)
        assert child.steps[2].reply == "The second reply."
        prompt = json.dumps(observed.model.asked[asked].json)
        assert "the inherited content" in prompt
        assert "The first reply." in prompt
        assert (parent.cost.model_calls, child.cost.model_calls) == (1, 1)


@pytest.mark.parametrize("service", ["executor", "orchestrator"])
async def test_a_fork_cut_off_by_a_kill_is_the_one_that_repeating_it_makes(
    crashing: Installation, service: str
) -> None:
    async with crashing.client(patient=True) as client:
        files = {f"many___f{n}": str(n) for n in range(1000)}
        parent = await done(client, crashing.project(a__txt="zero\n", **files), *STEPS[:1], edits=1)
        for round_, delay in enumerate((0.02, 0.3)):
            request = f"fork-{service}-{round_}-{parent.run_id}"
            before = {w.workspace_id async for w in client.list_workspaces()}
            asking = asyncio.create_task(client.fork_run(parent.run_id, 1, request_id=request))
            await asyncio.sleep(delay)  # where it is cut is left to chance; what must hold afterwards is not
            crashing.kill(service)
            await asyncio.gather(asking, return_exceptions=True)
            made = await client.fork_run(parent.run_id, 1, request_id=request)
            assert (await client.fork_run(parent.run_id, 1, request_id=request)).run_id == made.run_id
            after = {w.workspace_id async for w in client.list_workspaces()}
            assert after - before == {made.workspace_id}
            runs = await client.list_runs(workspace_id=made.workspace_id)
            assert [run.run_id for run in runs] == [made.run_id]
            workspace = await client.get_workspace(made.workspace_id)
            assert workspace.head_tree == parent.steps[0].head_tree


async def test_forks_that_are_refused_leave_nothing(up: Installation) -> None:
    async with up.client() as client:
        project = up.project(a__txt="zero\n")
        run = await start(client, project, *STEPS)
        before = {w.workspace_id async for w in client.list_workspaces()}
        cases: list[tuple[dict[str, Any], Reason]] = [
            ({"at_step": 1}, Reason.STEP_WRONG_STATE),
            ({"at_step": 9}, Reason.STEP_NOT_FOUND),
            ({"at_step": -1}, Reason.VALIDATION_FAILED),
            ({"workspace_path": str(project)}, Reason.WORKSPACE_EXISTS),
            ({"workspace_path": str(project / "inside")}, Reason.WORKSPACE_EXISTS),
            ({"workspace_path": "relative"}, Reason.WORKSPACE_SOURCE_INVALID),
            ({"without_plan": True, "start": True}, Reason.RUN_EMPTY_PLAN),
        ]
        for options, reason in cases:
            with pytest.raises(InterlockError) as caught:
                await client.fork_run(run.run_id, **options)
            assert caught.value.reason is reason, caught.value
        with pytest.raises(InterlockError) as caught:
            await client.fork_run("run-0")
        assert caught.value.reason is Reason.RUN_NOT_FOUND
        assert {w.workspace_id async for w in client.list_workspaces()} == before
        fork = await client.fork_run(run.run_id, labels={"try": "2"}, start=True)  # while its parent waits
        await approve(client, fork)
        assert dict(fork.labels) == {"try": "2"}
        await client.cancel_run(fork.run_id)
        await client.cancel_run(run.run_id)

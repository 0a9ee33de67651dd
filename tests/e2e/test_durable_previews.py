"""A preview that waits survives the end of everything, byte for byte, and is then published exactly."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from tests.support.installation import Installation, installed, snapshot, wait_until
from tests.support.working import ended, events, pending, start, state, until

from interlock.client import Client
from interlock.v1.run_pb2 import Run

RANDOM = (
    "head -c 300000 /dev/urandom > big; head -c 500 /dev/urandom | od > small; chmod 750 small; date +%s%N; "
    "date +%N >&2; echo ran >> count; rm old; ln -s small link; mkdir -p empty/inner"
)
CHANGED = ("big", "small", "count")


@dataclass
class Waiting:
    """A run that waits, and everything that can be seen of it."""

    run: Run
    directory: Path
    seen: tuple[object, ...] = ()


@pytest.fixture
def up() -> Iterator[Installation]:
    """One whose temporary files can be told from everybody else's."""
    with installed() as installation:
        temporary = installation.home / "tmp"
        temporary.mkdir(mode=0o777)
        temporary.chmod(0o1777)
        installation.extra = {"TMPDIR": str(temporary)}
        installation.start()
        yield installation


async def everything(client: Client, waiting: Waiting) -> tuple[object, ...]:
    """The approval with its preview, the step, the journal, and the bytes of the result, as they are told now."""
    approval = await pending(client, waiting.run)
    run = await client.get_run(waiting.run.run_id)
    effect = approval.preview
    files: list[tuple[object, ...]] = []
    if effect.result_tree:
        workspace = waiting.run.workspace_id
        listed = client.list_files(workspace, tree=effect.result_tree)
        files.extend([(entry.path, entry.type, entry.mode, entry.size) async for entry in listed])
        for path in CHANGED:
            if any(path == name for name, *_ in files):
                read = await client.read_file(workspace, path, tree=effect.result_tree)
                files.append((path, read.data))
        difference = await client.diff_trees(workspace, effect.base_tree, effect.result_tree)
        files.append(("diff", difference.SerializeToString(deterministic=True)))
    return (
        approval.SerializeToString(deterministic=True),
        run.SerializeToString(deterministic=True),
        [event.digest async for event in client.list_events(waiting.run.run_id)],
        files,
    )


def end_everything(up: Installation) -> None:
    """SIGKILL to every process of it in one instant, the supervisor and PostgreSQL too."""
    assert up.process is not None
    doomed = [psutil.Process(up.process.pid), *psutil.Process(up.process.pid).children(recursive=True)]
    doomed += [process for process in up.processes() if process not in doomed]
    names = " ".join(" ".join(process.cmdline()) for process in doomed)
    for wanted in ("orchestrator", "executor", "planner", "approval", "postgres"):
        assert wanted in names, f"{wanted} is not among them"
    for process in doomed:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    up.process.communicate()
    up.process = None
    wait_until(lambda: not up.processes(), what="something lives on")


def reboot(up: Installation) -> None:
    """What is lost with the machine's power besides processes: temporary files; and forks, if a disk is not kept."""
    end_everything(up)
    for path in (up.home / "tmp").iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    forks = list((up.home / "executor").glob("workspaces/*/forks/*"))
    assert forks, "a preview has a fork"
    for fork in forks:
        shutil.rmtree(fork)


def end_services(up: Installation) -> None:
    """SIGKILL to every service; the supervisor starts them again."""
    pids = {name: up.pid(name) for name in ("orchestrator", "executor", "planner", "approval")}
    up.kill(*pids)
    wait_until(lambda: all(up.pid(name) not in (0, pid) for name, pid in pids.items()))


async def waiting_runs(client: Client, up: Installation) -> dict[str, Waiting]:
    """A command that is different every time, an edit, and a command that has not run."""
    made = {}
    for name, step in {
        "command": f"{{run_command: {{command: '{RANDOM}'}}, gate: effect}}",
        "edit": '{edit_file: {path: small, new_content: "é, edited\\n"}}',
        "before": "{run_command: {command: 'echo ran >> count; date +%N > small'}}",
    }.items():
        directory = up.project(old="old\n", small="small\n")
        head = "policy: {steps_may_weaken: true}"
        run = await start(client, directory, step, head=head)
        await until(client, run, "AWAITING_APPROVAL")
        made[name] = Waiting(run, directory)
    return made


@pytest.mark.parametrize("ending", [end_services, end_everything, reboot], ids=lambda f: f.__name__)
async def test_a_pending_preview_survives(up: Installation, ending: Callable[[Installation], None]) -> None:
    async with up.client() as client:
        runs = await waiting_runs(client, up)
        for waiting in runs.values():
            waiting.seen = await everything(client, waiting)
    before = {name: snapshot(waiting.directory) for name, waiting in runs.items()}
    ending(up)
    if up.process is None:
        up.start()

    async with up.client(patient=True) as client:
        for name, waiting in runs.items():
            assert await everything(client, waiting) == waiting.seen, name
            assert snapshot(waiting.directory) == before[name], name
        for name, waiting in runs.items():
            shown = await pending(client, waiting.run)
            await client.decide(shown, "approve")
            done = await ended(client, waiting.run)
            assert state(done) == "COMPLETED", (name, done)
            assert done.steps[0].attempt == 1, name
            if name != "before":
                assert done.head_tree == shown.preview.result_tree, name
                assert "step.prepared" in await events(client, waiting.run)
                published = {path: data for path, *data in waiting.seen[3] if len(data) == 1}  # type: ignore[attr-defined]
                for path in CHANGED:
                    if path in published:
                        assert (waiting.directory / path).read_bytes() == published[path][0], (name, path)

    command = runs["command"].directory
    assert (command / "count").read_text() == "ran\n", "it was not run again"
    assert not (command / "old").exists()
    assert (command / "empty/inner").is_dir()
    assert os.readlink(command / "link") == "small"
    assert (command / "small").stat().st_mode & 0o777 == 0o750
    assert (runs["edit"].directory / "small").read_text() == "é, edited\n"
    assert (runs["before"].directory / "count").read_text() == "ran\n"

"""The command against the real services: one `interlock up` for all tests of this file, real processes throughout."""

from __future__ import annotations

import base64
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner, Result

from interlock.cli.main import app

ROOT = Path(__file__).resolve().parents[3]
INTERLOCK = [sys.executable, "-m", "interlock.cli"]
SECONDS = 100

pytestmark = pytest.mark.slow


@dataclass
class Installation:
    """A data directory of the tests' own, and the command on it."""

    home: Path

    @property
    def env(self) -> dict[str, str]:
        return {
            **os.environ,
            "INTERLOCK_DATA_DIR": str(self.home / "data"),
            "INTERLOCK_EXECUTOR_DIR": str(self.home / "executor"),
            "INTERLOCK_POSTGRES_DIR": str(self.home / "postgres"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def __call__(self, *arguments: str, code: int = 0) -> Result:
        """Run the command in this process: its start-up is not what is tested here."""
        env: dict[str, str | None] = {name: self.env.get(name) for name in {*os.environ, *self.env}}
        done = CliRunner().invoke(app, arguments, env=env, prog_name="interlock")
        assert "Traceback" not in done.stderr + done.stdout, done.stderr
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert done.exit_code == code, (arguments, done.stdout, done.stderr)
        return done

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self(*arguments, "-o", "json", code=code).stdout)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*INTERLOCK, *arguments], env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def processes(self) -> list[psutil.Process]:
        """Every process that belongs to this installation."""
        mark, found = str(self.home), []
        for process in psutil.process_iter():
            try:
                texts = [*process.cmdline(), *process.environ().values()]
            except psutil.Error:
                continue
            if process.status() != psutil.STATUS_ZOMBIE and any(mark in text for text in texts):
                found.append(process)
        return found


@pytest.fixture(scope="module")
def make() -> Iterator[Callable[[], Installation]]:
    """Makes installations in directories that the steps' user can enter; nothing of them may be left running."""
    made: list[Installation] = []

    def installation() -> Installation:
        home = Path(tempfile.mkdtemp(prefix="interlock-cli-"))
        home.chmod(0o755)
        made.append(Installation(home))
        return made[-1]

    yield installation
    for each in made:
        left = [" ".join(process.cmdline()) for process in each.processes()]
        shutil.rmtree(each.home, ignore_errors=True)
        assert left == []


@pytest.fixture(scope="module")
def interlock(make: Callable[[], Installation]) -> Iterator[Installation]:
    """An installation whose services run."""
    installation = make()
    with installation.start("up", "--port-base", "0", "-o", "jsonl") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        assert line, process.stderr.read()
        services = json.loads(line)["services"]
        assert [each["service"] for each in services] == ["orchestrator", "executor", "planner", "approval"]
        assert all(each["serving"] for each in services)
        yield installation
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=SECONDS)
        assert process.returncode == 0
        assert "nothing is left running" in errors


@pytest.fixture
def project(interlock: Installation) -> Path:
    directory = Path(tempfile.mkdtemp(prefix="project-", dir=interlock.home))
    directory.chmod(0o755)
    (directory / "a.py").write_text("print('a')\n")
    return directory


def plan(directory: Path, *steps: str, goal: str = "try it") -> str:
    path = directory.parent / f"{directory.name}.yaml"
    path.write_text(f"goal: {goal}\nsteps:\n" + "".join(f"  - {step}\n" for step in steps))
    return str(path)


READ = "read_file: {path: a.py}"
EDIT = '{edit_file: {path: b.txt, new_content: "new\\n"}}'
RUN = "{run_command: {command: 'echo out; echo err >&2; cat b.txt > c.txt'}, gate: effect}"
SLOW = "{run_command: {command: 'echo started; sleep 300'}, gate: command}"
FALSE = "{run_command: {command: 'exit 7'}, gate: command}"


def execute(interlock: Installation, project: Path, *steps: str, code: int = 0, approve: str = "all") -> Any:
    given = ["run", "exec", "-w", str(project), "--plan", plan(project, *steps), "--approve", approve]
    return interlock.json(*given, code=code)


def test_exec_prints_the_final_run_with_its_steps(interlock: Installation, project: Path) -> None:
    run = execute(interlock, project, READ, EDIT, RUN)
    assert run["state"] == "RUN_STATE_COMPLETED"
    assert [step["state"] for step in run["steps"]] == ["STEP_STATE_SUCCEEDED"] * 3
    read, edit, command = run["steps"]
    assert base64.b64decode(read["effect"]["content"]["head"]) == b"print('a')\n"
    assert "+new" in edit["effect"]["diff"]
    assert base64.b64decode(command["effect"]["stdout"]["head"]) == b"out\n"
    assert base64.b64decode(command["effect"]["stderr"]["head"]) == b"err\n"
    assert command["effect"]["exitCode"] == 0
    for step in run["steps"]:
        assert re.fullmatch("sha256:[0-9a-f]{64}", step["effect"]["baseTree"])
    assert run["headTree"] == command["effect"]["resultTree"] != run["baseTree"]
    assert (project / "b.txt").read_text() == (project / "c.txt").read_text() == "new\n"


def test_approve_all_is_recorded_with_its_channel(interlock: Installation, project: Path) -> None:
    run = execute(interlock, project, EDIT)
    approval = interlock.json("approvals", "show", run["steps"][0]["approvalId"])
    assert approval["state"] == "APPROVAL_STATE_APPROVED"
    assert approval["decision"]["channel"] == "cli"
    assert approval["decision"]["digest"] == approval["digest"] == run["steps"][0]["effect"]["effectDigest"]


def test_progress_shows_output_and_what_is_approved(interlock: Installation, project: Path) -> None:
    file = plan(project, EDIT, "{run_command: {command: 'printf \"\\\\033[2Jx\\\\n\"'}, gate: command}")
    done = interlock("run", "exec", "-w", str(project), "--plan", file, "--approve", "all")
    assert "+new" in done.stderr
    assert "\\x1b[2Jx" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert "COMPLETED" in done.stdout
    assert "COMPLETED: 2 of 2 steps" in done.stderr


def test_without_terminal_a_gate_leaves_the_run_waiting(interlock: Installation, project: Path) -> None:
    run = execute(interlock, project, EDIT, code=3, approve="ask")
    assert run["state"] == "RUN_STATE_AWAITING_APPROVAL"
    assert not (project / "b.txt").exists()
    pending = interlock.json("approvals", "list", "--run", run["runId"])["approvals"]
    assert [each["runId"] for each in pending] == [run["runId"]]
    shown = interlock("approvals", "show", run["runId"]).stdout
    assert "+new" in shown
    assert pending[0]["digest"] in shown
    interlock("approvals", "approve", pending[0]["approvalId"], "-m", "fine")
    finished = interlock.json("run", "wait", run["runId"])
    assert finished["state"] == "RUN_STATE_COMPLETED"
    assert (project / "b.txt").read_text() == "new\n"
    again = interlock("approvals", "approve", pending[0]["approvalId"], code=1)
    assert "reason: APPROVAL_ALREADY_DECIDED" in again.stderr


def test_none_says_how_to_approve(interlock: Installation, project: Path) -> None:
    file = plan(project, EDIT)
    done = interlock("run", "exec", "-w", str(project), "--plan", file, "--approve", "none", code=3)
    assert re.search(r"interlock approvals approve apr-\w+", done.stderr)
    run = re.search(r"interlock run watch (run-\w+)", done.stderr)
    assert run is not None
    interlock("run", "cancel", run[1])


def test_a_rejection_is_exit_code_4(interlock: Installation, project: Path) -> None:
    run = execute(interlock, project, EDIT, code=3, approve="none")
    interlock("approvals", "reject", run["runId"], "-m", "not like this")
    rejected = interlock.json("run", "wait", run["runId"], code=4)
    assert rejected["state"] == "RUN_STATE_FAILED"
    assert "not like this" in rejected["failure"]["message"]
    assert not (project / "b.txt").exists()


def test_a_decision_about_another_digest_is_refused(interlock: Installation, project: Path) -> None:
    run = execute(interlock, project, EDIT, code=3, approve="none")
    done = interlock("approvals", "approve", run["runId"], "--digest", "sha256:" + "0" * 64, code=1)
    assert "APPROVAL_DIGEST_MISMATCH" in done.stderr
    interlock("run", "cancel", run["runId"])


def test_a_failed_step_is_exit_code_1(interlock: Installation, project: Path) -> None:
    run = execute(interlock, project, FALSE, code=1)
    assert run["failure"]["reason"] == "COMMAND_FAILED"
    assert run["steps"][0]["failure"]["metadata"]["exit_code"] == "7"


def test_the_same_directory_is_the_same_workspace(interlock: Installation, project: Path) -> None:
    first = execute(interlock, project, READ)
    second = execute(interlock, project, READ)
    assert first["workspaceId"] == second["workspaceId"]
    assert first["runId"] != second["runId"]


def test_journals_are_shown_exported_and_verified(
    interlock: Installation, project: Path, tmp_path: Path
) -> None:
    run = execute(interlock, project, EDIT, RUN)
    events = interlock.json("journal", "show", run["runId"])["events"]
    assert [int(event["seq"]) for event in events] == list(range(1, len(events) + 1))
    bundle = tmp_path / "bundle"
    interlock("journal", "export", run["runId"], "-f", str(bundle))
    report = interlock.json("journal", "verify", str(bundle))
    assert report["ok"]
    assert (report["events"], report["head"]) == (len(events), events[-1]["digest"])
    assert report["payloads"] > 0
    assert interlock.json("journal", "verify", run["runId"])["head"] == report["head"]
    assert interlock("journal", "export", run["runId"]).stdout.encode() == bundle.read_bytes()
    alone = subprocess.run([sys.executable, "-m", "interlock.verify", str(bundle)], check=False)
    assert alone.returncode == 0
    whole = bundle.read_bytes()
    bundle.write_bytes(whole.replace(b'"media_type":"', b'"media_type":"x', 1))
    assert not interlock.json("journal", "verify", str(bundle), code=1)["ok"]
    lines = whole.splitlines(keepends=True)
    bundle.write_bytes(b"".join([*lines[:2], *lines[3:]]))
    assert "event 2: its seq is 3" in interlock("journal", "verify", str(bundle), code=1).stderr


def test_names_that_people_chose_do_not_confuse_a_journal(interlock: Installation, project: Path) -> None:
    nowhere = "sha256:" + "0" * 64
    step = (
        f"{{run_command: {{command: 'true', env: {{A_payload: hi, b_payload: '{nowhere}'}}}}, gate: command}}"
    )
    run = execute(interlock, project, step)
    assert interlock.json("journal", "verify", run["runId"])["ok"]


def test_rolling_back_gives_the_first_tree(interlock: Installation, project: Path) -> None:
    run = execute(interlock, project, EDIT, RUN)
    answer = interlock.json("run", "rollback", run["runId"], "-m", "enough")
    assert answer["headTree"] == run["baseTree"]
    assert answer["previousTree"] == run["headTree"]
    assert sorted(path.name for path in project.iterdir()) == ["a.py"]
    assert interlock.json("journal", "verify", run["runId"])["ok"]


def test_workspaces(interlock: Installation, project: Path) -> None:
    made = interlock.json("workspace", "create", str(project), "--label", "team=core")
    assert made["labels"] == {"team": "core"}
    run = execute(interlock, project, EDIT)
    listed = interlock.json("workspace", "list")["workspaces"]
    assert made["workspaceId"] in [each["workspaceId"] for each in listed]
    shown = interlock.json("workspace", "show", str(project))
    assert shown["workspace"]["headTree"] == run["headTree"]
    assert shown["snapshots"][0]["runId"] == run["runId"]
    assert "+new" in interlock("workspace", "diff", made["workspaceId"]).stdout
    assert interlock.json("workspace", "diff", made["workspaceId"])["changes"][0]["path"] == "b.txt"
    entries = interlock.json("workspace", "files", str(project))["entries"]
    assert {entry["path"] for entry in entries} >= {"a.py", "b.txt"}
    (project / "sub").mkdir()
    (project / "sub" / "deep.py").touch()
    assert "sub/deep.py" in interlock("workspace", "files", str(project), "sub").stdout
    again = interlock("workspace", "create", str(project), code=1)
    assert "WORKSPACE_EXISTS" in again.stderr


def test_steps_are_added_shown_skipped_and_retried(interlock: Installation, project: Path) -> None:
    run = execute(interlock, project, FALSE, READ, code=1)
    name = run["runId"]
    assert [step["number"] for step in interlock.json("step", "list", name)["steps"]] == [1, 2]
    shown = interlock("step", "show", name, "step-1").stdout
    assert re.search(r"exit code: +7\n", shown)
    assert "COMMAND_FAILED" in shown
    interlock("step", "retry", name, "1")
    interlock("approvals", "approve", _pending(interlock, name))
    assert interlock.json("run", "wait", name, code=1)["steps"][0]["attempt"] == 2
    interlock("step", "skip", name, "1", "--comment", "never mind")
    finished = interlock.json("run", "wait", name)
    assert [step["state"] for step in finished["steps"]] == ["STEP_STATE_SKIPPED", "STEP_STATE_SUCCEEDED"]
    closed = interlock("step", "add", name, "--plan", plan(project, READ), code=1)
    assert "RUN_WRONG_STATE" in closed.stderr


def _pending(interlock: Installation, run: str) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = interlock.json("approvals", "list", "--run", run)["approvals"]
        if found:
            return str(found[0]["approvalId"])
    raise AssertionError(f"nothing pending for {run}")


def test_watching_streams_every_event_once_and_resumes_by_cursor(
    interlock: Installation, project: Path
) -> None:
    run = execute(interlock, project, EDIT, RUN)
    lines = interlock("run", "watch", run["runId"], "-o", "jsonl").stdout.splitlines()
    messages = [json.loads(line) for line in lines]
    events = [message for message in messages if "event" in message]
    assert [int(message["event"]["seq"]) for message in events] == list(range(1, len(events) + 1))
    middle = events[len(events) // 2]
    rest = interlock("run", "watch", run["runId"], "-o", "jsonl", "--cursor", middle["cursor"]).stdout
    seqs = [int(json.loads(line)["event"]["seq"]) for line in rest.splitlines() if '"event":' in line]
    assert seqs == list(range(int(middle["event"]["seq"]) + 1, len(events) + 1))


def test_start_wait_timeout_pause_cancel(interlock: Installation, project: Path) -> None:
    run = interlock.json("run", "start", "-w", str(project), "--plan", plan(project, SLOW, READ))["runId"]
    assert interlock.json("run", "wait", run, code=3)["state"] == "RUN_STATE_AWAITING_APPROVAL"
    interlock("approvals", "approve", run)
    done = interlock("run", "watch", run, "--timeout", "2s", code=124)
    assert f"{run} goes on" in done.stderr
    assert interlock.json("run", "cancel", run, "-m", "too slow")["runId"] == run
    assert interlock.json("run", "wait", run, code=1)["state"] == "RUN_STATE_CANCELLED"
    assert run in interlock("run", "list", "--state", "cancelled").stdout
    assert interlock("run", "pause", run, code=1).stderr.count("RUN_WRONG_STATE") == 1
    assert "no model calls" in interlock("run", "cost", run).stdout


def test_interrupting_exec_leaves_the_run_going(interlock: Installation, project: Path) -> None:
    file = plan(project, SLOW)
    given = ["run", "exec", "-w", str(project), "--plan", file, "--approve", "all"]
    with interlock.start(*given) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "| started" in line:
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(SECONDS) == 130
    found = re.search(r"(run-\w+) goes on", rest)
    assert found is not None
    assert "Traceback" not in rest
    assert interlock.json("run", "get", found[1])["state"] == "RUN_STATE_RUNNING"
    interlock("run", "cancel", found[1])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["run", "get", "run-01jd9yq8x0c3v7m5k2h4n6p8rs"], 5, "RUN_NOT_FOUND"),
        (["approvals", "show", "apr-01jd9yq8x0c3v7m5k2h4n6p8rs"], 5, "APPROVAL_NOT_FOUND"),
        (["workspace", "show", "/nowhere"], 5, "WORKSPACE_NOT_FOUND"),
        (["run", "list", "--token", "wrong"], 6, "UNAUTHENTICATED"),
        (["--token", "wrong", "run", "list"], 6, "UNAUTHENTICATED"),
        (["run", "list", "--server", "127.0.0.1:1"], 7, "The orchestrator at 127.0.0.1:1 cannot be reached"),
        (["run", "list", "--server", "nonsense"], 2, "is not an address"),
        (["run", "list", "--state", "walking"], 2, "awaiting_approval"),
        (["run", "list", "--limit", "many"], 2, "--limit"),
        (["run", "nonsense"], 2, "No such command"),
        (["run", "exec", "-w", "/tmp"], 2, "Give either --plan or --goal"),
        (["run", "exec", "-w", "/tmp", "--plan", "/nowhere.yaml"], 2, "Cannot read /nowhere.yaml"),
        (["step", "show", "run-1", "x"], 2, "is not a step"),
        (["journal", "verify", "/nowhere"], 2, "Cannot read /nowhere"),
        (["serve", "nonsense"], 2, "is not a service"),
        (["up", "--port-base", "0"], 7, "as process"),
    ],
)
def test_mistakes(interlock: Installation, arguments: list[str], code: int, said: str) -> None:
    done = interlock(*arguments, code=code)
    assert said in done.stderr
    assert done.stdout == ""


def test_a_bad_plan_is_explained_before_anything_happens(interlock: Installation, project: Path) -> None:
    file = plan(project, "read_file: {path: ../x}", "fly: {}")
    done = interlock("run", "exec", "-w", str(project), "--plan", file, code=2)
    assert "steps[0].read_file.path" in done.stderr
    listed = interlock("plan", "validate", file, code=2)
    assert len(listed.stderr.splitlines()) == 2
    assert interlock.json("plan", "validate", plan(project, READ)) == {"valid": True, "problems": []}


def test_the_approver_example_approves_what_it_prints(interlock: Installation, project: Path) -> None:
    line = [sys.executable, str(ROOT / "examples" / "approver.py")]
    with subprocess.Popen(line, env=interlock.env, stdout=subprocess.PIPE, text=True) as bot:
        started = interlock.json("run", "start", "-w", str(project), "--plan", plan(project, EDIT))
        interlock("run", "watch", started["runId"])
        bot.terminate()
        assert bot.stdout is not None
        assert "+new" in bot.stdout.read()
    assert (project / "b.txt").read_text() == "new\n"


class Pty:
    """A person at a terminal: sees the screen, types."""

    def __init__(self, installation: Installation, *arguments: str, **env: str) -> None:
        self.screen = b""
        master, terminal = pty.openpty()
        self._master = master
        self.process = subprocess.Popen(
            [*INTERLOCK, *arguments], stdin=terminal, stdout=subprocess.PIPE, stderr=terminal,
            env={**installation.env, "TERM": "xterm", **env}, start_new_session=True,
        )  # fmt: skip
        os.close(terminal)

    def until(self, text: str) -> None:
        deadline = time.monotonic() + SECONDS
        while text.encode() not in self.screen:
            assert time.monotonic() < deadline, self.screen.decode(errors="replace")
            if select.select([self._master], [], [], 0.1)[0]:
                self.screen += os.read(self._master, 65536)

    def type(self, text: str) -> None:
        self.screen = b""
        os.write(self._master, text.encode())

    def end(self) -> tuple[int, str]:
        assert self.process.stdout is not None
        while self.process.poll() is None:
            if select.select([self._master], [], [], 0.1)[0]:
                try:
                    self.screen += os.read(self._master, 65536)
                except OSError:
                    break
        code = self.process.wait(SECONDS)
        with self.process.stdout as output:
            text = output.read().decode()
        os.close(self._master)
        return code, text


def test_on_a_terminal_it_asks_and_the_answer_counts(interlock: Installation, project: Path) -> None:
    file = plan(project, EDIT, RUN)
    editor = "sed -i s/echo/printf/"
    with_pty = Pty(interlock, "run", "exec", "-w", str(project), "--plan", file, "-o", "json", EDITOR=editor)
    with_pty.until("[a]pprove")
    assert b"+new" in with_pty.screen
    assert not (project / "b.txt").exists()
    with_pty.type("?\n")
    with_pty.until("approve exactly what is shown")
    with_pty.until("[?] help:")  # asked again: what is typed from here on is the answer
    with_pty.type("a\n")
    with_pty.until("[a]pprove")
    assert (project / "b.txt").exists()
    with_pty.type("e\n")
    with_pty.until("printf")
    with_pty.until("[a]pprove")
    with_pty.type("r\n")
    with_pty.until("Why?")
    with_pty.type("no, thank you\n")
    code, text = with_pty.end()
    assert code == 4
    run = json.loads(text)
    assert run["steps"][1]["state"] == "STEP_STATE_REJECTED"
    assert "no, thank you" in run["failure"]["message"]
    assert "printf" in run["steps"][1]["spec"]["input"]["runCommand"]["command"]


def test_on_a_terminal_no_input_still_means_no(interlock: Installation, project: Path) -> None:
    given = ["run", "exec", "-w", str(project), "--plan", plan(project, EDIT), "--no-input", "-o", "json"]
    code, text = Pty(interlock, *given).end()
    assert code == 3
    interlock("run", "cancel", json.loads(text)["runId"])


def test_with_nothing_running_a_command_starts_what_it_needs_and_stops_it(
    make: Callable[[], Installation],
) -> None:
    alone = make()
    project = alone.home / "project"
    project.mkdir(mode=0o755)
    (project / "a.py").write_text("x = 1\n")
    file = plan(project, EDIT, "{run_command: {command: 'sleep 3'}, gate: command}")
    given = ["run", "exec", "-w", str(project), "--plan", file, "--approve", "all", "-o", "json"]
    with alone.start(*given) as first:
        assert first.stderr is not None
        assert "starting Interlock" in first.stderr.readline()
        # A second command on the same directory waits for the same services and uses them.
        listed = alone("run", "list", "-o", "json")
        assert "runs" in json.loads(listed.stdout)
        output, errors = first.communicate(timeout=SECONDS)
        assert first.returncode == 0, errors
    assert json.loads(output)["state"] == "RUN_STATE_COMPLETED"
    assert (project / "b.txt").exists()
    assert alone.processes() == []
    assert not (alone.home / "data" / "endpoints.json").exists()
    report = alone.json("journal", "verify", json.loads(output)["runId"])
    assert report["ok"]
    assert alone.processes() == []

"""Following, steering and asking: what the command does while a run goes on, and on a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.command_line import (
    EDIT,
    INTERLOCK,
    READ,
    ROOT,
    RUN,
    SECONDS,
    SLOW,
    Installation,
    execute,
    plan,
)

pytestmark = pytest.mark.slow


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


def test_json_of_a_stream_is_one_document_after_another(interlock: Installation, project: Path) -> None:
    run = execute(interlock, project, EDIT)["runId"]
    text = interlock("run", "watch", run, "-o", "json").stdout
    documents, at, decoder = [], 0, json.JSONDecoder()
    while at < len(text):
        document, at = decoder.raw_decode(text, at)
        documents.append(document)
        at += 1  # the newline after it
    assert text.startswith("{\n  ")
    lines = interlock("run", "watch", run, "-o", "jsonl").stdout.splitlines()
    assert [each.get("event") for each in documents] == [json.loads(line).get("event") for line in lines]


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
        (["run", "watch", "run-1", "-i"], 2, "There is no terminal to ask on"),
        (["run", "watch", "run-1", "-i", "-o", "json"], 2, "Nobody can be asked in JSON"),
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


def test_watching_on_a_terminal_can_ask(interlock: Installation, project: Path) -> None:
    started = interlock.json("run", "start", "-w", str(project), "--plan", plan(project, EDIT))
    person = Pty(interlock, "run", "watch", started["runId"], "--interactive")
    person.until("[a]pprove")
    assert b"+new" in person.screen
    person.type("a\n")
    code, text = person.end()
    assert code == 0
    assert "COMPLETED" in text
    assert (project / "b.txt").read_text() == "new\n"


def test_watching_says_what_waits_and_only_that(interlock: Installation, project: Path) -> None:
    two = plan(project, EDIT, "{edit_file: {path: d.txt, new_content: d}}")
    run = interlock.json("run", "start", "-w", str(project), "--plan", two)["runId"]
    first = interlock.json("run", "wait", run, code=3)["steps"][0]["approvalId"]
    interlock("approvals", "approve", first)
    second = interlock.json("run", "wait", run, code=3)["steps"][1]["approvalId"]
    said = interlock("run", "watch", run, "--timeout", "1s", code=124).stderr
    assert f"Step 2 waits for {second}. `interlock approvals show {second}`" in said
    assert first not in said
    interlock("run", "cancel", run)


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

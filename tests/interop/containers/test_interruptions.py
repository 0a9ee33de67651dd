"""Containers are killed, drained and replaced in the middle of steps; runs come to their end all the same."""

from __future__ import annotations

from tests.interop.containers.conftest import SERVICES, Stack
from tests.support.installation import wait_until

SLOW = '{run_command: {command: "date > started.txt; sleep %d; echo done > done.txt"}, gate: none}'


def states(stack: Stack, run: str) -> list[str]:
    return [step["state"].removeprefix("STEP_STATE_") for step in stack.json("run", "get", run)["steps"]]


def test_the_executor_is_killed_in_the_middle_of_a_command(stack: Stack) -> None:
    here, there = stack.project(a__txt="a\n")
    run = stack.start(there, SLOW % 8, '{edit_file: {path: b.txt, new_content: "b\\n"}, gate: none}')
    stack.wait_for_process("executor", "sleep 8")
    restarts = stack.inspect("executor")["RestartCount"]
    stack.kill("executor")
    wait_until(lambda: stack.inspect("executor")["RestartCount"] > restarts, what="it was not restarted")
    stack.healthy("executor")
    assert stack.ended(run)["state"] == "RUN_STATE_COMPLETED"
    assert states(stack, run) == ["SUCCEEDED", "SUCCEEDED"]
    assert (here / "done.txt").read_text() == "done\n"
    assert (here / "b.txt").read_text() == "b\n"
    assert "Verified" in stack.interlock("journal", "verify", run).stdout
    stack.wait_for_no_process("executor", "bwrap")


def test_the_orchestrator_is_killed_while_an_approval_waits(stack: Stack) -> None:
    here, there = stack.project(a__txt="a\n")
    run = stack.start(there, '{edit_file: {path: a.txt, new_content: "b\\n"}}')
    stack.ended(run)
    restarts = stack.inspect("orchestrator")["RestartCount"]
    stack.kill("orchestrator")
    wait_until(lambda: stack.inspect("orchestrator")["RestartCount"] > restarts)
    stack.healthy("orchestrator", "approval")
    stack.interlock("approvals", "approve", run)
    assert stack.ended(run)["state"] == "RUN_STATE_COMPLETED"
    assert (here / "a.txt").read_text() == "b\n"


def test_the_database_is_killed_in_the_middle_of_a_run(stack: Stack) -> None:
    here, there = stack.project(a__txt="a\n")
    run = stack.start(there, SLOW % 5, '{edit_file: {path: b.txt, new_content: "b\\n"}, gate: none}')
    stack.wait_for_process("executor", "sleep 5")
    stack.kill("postgres")
    stack.healthy("postgres", "orchestrator")
    assert stack.ended(run)["state"] == "RUN_STATE_COMPLETED"
    assert (here / "b.txt").read_text() == "b\n"
    assert "Verified" in stack.interlock("journal", "verify", run).stdout


def test_a_stopping_executor_finishes_the_command_that_is_under_way(stack: Stack) -> None:
    here, there = stack.project(a__txt="a\n")
    run = stack.start(there, SLOW % 4)
    stack.wait_for_process("executor", "sleep 4")
    stack.compose("stop", "executor")
    assert stack.inspect("executor")["State"]["ExitCode"] == 0
    log = stack.compose("logs", "--tail", "40", "executor")
    assert '"draining"' in log
    assert '"stopped"' in log
    stack.compose("start", "executor")
    stack.healthy("executor")
    assert stack.ended(run)["state"] == "RUN_STATE_COMPLETED"
    assert (here / "done.txt").exists()


def test_every_service_stops_by_itself_when_asked(stack: Stack) -> None:
    stack.compose("stop")
    codes = {name: stack.inspect(name)["State"]["ExitCode"] for name in ("postgres", *SERVICES)}
    assert codes == dict.fromkeys(codes, 0)
    stack.up()


def test_new_containers_on_the_same_volumes_know_every_run(stack: Stack) -> None:
    here, there = stack.project(a__txt="a\n")
    run = stack.start(there, '{edit_file: {path: a.txt, new_content: "b\\n"}, gate: none}')
    assert stack.ended(run)["state"] == "RUN_STATE_COMPLETED"
    stack.compose("down")
    stack.up()
    assert "Verified" in stack.interlock("journal", "verify", run).stdout
    stack.interlock("run", "rollback", run)
    assert (here / "a.txt").read_text() == "a\n"

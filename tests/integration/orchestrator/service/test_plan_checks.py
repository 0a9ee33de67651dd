"""What `plan validate` says of a plan and what CreateRun makes of it are the same."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import grpc
import pytest
from tests.support.orchestrator import executor_server, orchestrator
from tests.support.scripted_executor import Script, ScriptedExecutor

from interlock.cli.plans import check_for_run
from interlock.client import parse_plan, run_request
from interlock.common.errors import InterlockError
from interlock.common.status import error_from_rpc

GATES = ("none", "command", "effect", "both")
STEPS = {
    "edit_file": '{edit_file: {path: a, new_content: "b"}%s}',
    "run_command": '{run_command: {command: "true"}%s}',
    "read_file": "{read_file: {path: a}%s}",
}


def plan(*steps: str, head: str = "") -> str:
    return f"goal: try\n{head}\nsteps:\n" + "".join(f"  - {step}\n" for step in steps)


def plans() -> Iterator[str]:
    for kind, gate in itertools.product(STEPS, ("", *GATES)):
        step = STEPS[kind] % (f", gate: {gate}" if gate else "")
        yield plan(STEPS["read_file"] % "", step)
        for floor, may in itertools.product(GATES, ("false", "true")):
            policy = f"edit_file_gate: {floor}, run_command_gate: {floor}, steps_may_weaken: {may}"
            yield plan(step, head=f"policy: {{name: strict, {policy}}}")
    yield plan(STEPS["run_command"] % ", gate: none", head="policy: cautious")
    for network in ("{hosts: ['example.com:443']}", "{hosts: []}", "[]"):
        step = f"{{run_command: {{command: 'true', network: {network}}}, gate: none}}"
        yield plan(step, head="policy: {run_command_gate: none}")
    for may, gate in itertools.product(("false", "true"), GATES):
        step = f'{{run_command: {{command: "true", network: ["example.com:443"]}}, gate: {gate}}}'
        yield plan(step, head=f"policy: {{run_command_gate: none, steps_may_weaken: {may}}}")
    yield plan(STEPS["run_command"] % ", retries: 10", head="budget: 0.000001")
    yield plan(STEPS["run_command"] % f", name: {'n' * 200}", head=f"labels: {{a: {'b' * 63}}}")
    yield plan('{run_command: {argv: ["true", ""], timeout: 24h, network: ["example.com:443"]}}')
    yield plan("{run_command: {command: 'true', working_dir: a/b, env: {A: ''}, allowed_exit_codes: [255]}}")


async def test_both_say_the_same_of_every_plan(database_url: str) -> None:
    refused = 0
    async with (
        executor_server(ScriptedExecutor(Script())) as executor,
        orchestrator(database_url, executor) as it,
    ):
        for document in plans():
            found, problems = check_for_run(document.encode())
            request = run_request(parse_plan(document), "ws-one")
            try:
                await it.stub.CreateRun(request)
            except grpc.aio.AioRpcError as error:
                said = error_from_rpc(error)
                assert found is None, (document, said.message)
                (problem,) = problems
                assert (problem.reason, problem.field, f"{problem.message}.", problem.fix) == (
                    said.reason,
                    said.field,
                    said.message,
                    said.fix,
                )
                refused += 1
            else:
                assert found is not None, (document, problems)
    assert refused == 2 + 1 + 2 + 2 * (3 + 1 + 1), (
        "the weaker gates of two kinds, one of a policy by name, two with network"
    )


def test_every_step_is_named_with_its_number_and_its_place() -> None:
    document = plan(*(STEPS[kind] % ", gate: none" for kind in ("read_file", "edit_file", "run_command")))
    _, problems = check_for_run(document.encode())
    assert [(problem.field, problem.line) for problem in problems] == [
        ("steps[1].gate", 5),
        ("steps[2].gate", 6),
    ]
    assert problems[0].message.startswith("Step 2 asks for the gate 'none', weaker than 'effect'")


def test_steps_for_a_run_that_is_there_are_not_held_against_a_policy_it_does_not_have() -> None:
    document = plan(STEPS["run_command"] % ", gate: none")
    assert parse_plan(document).steps[0].gate == "none"
    with pytest.raises(InterlockError, match="Step 1 asks for the gate"):
        parse_plan(document, for_run=True)


@pytest.mark.parametrize("gate", ["[none]", "{none: 1}", "7", "sometimes", "null"])
def test_a_gate_that_is_none_is_refused_once(gate: str) -> None:
    _, problems = check_for_run(plan(STEPS["run_command"] % f", gate: {gate}").encode())
    assert [problem.field for problem in problems] == ["steps[0].gate"]

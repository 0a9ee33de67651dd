"""What the predecessor got wrong, through real processes: each test is named after the failure it excludes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.e2e.conftest import Observed
from tests.support.installation import SECONDS, Installation, snapshot
from tests.support.models import chat
from tests.support.working import approve, ended, events, pending, start, state, states

from interlock.client import Client
from interlock.v1.run_pb2 import Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]

BOTH_KILLED = ("executor", "orchestrator")


async def test_an_approved_edit_is_written(up: Installation) -> None:
    project = up.project(a__py="old\n")
    async with up.client() as client:
        run = await start(client, project, '{edit_file: {path: a.py, new_content: "new\\n"}}')
        await pending(client, run)
        assert (project / "a.py").read_text() == "old\n", "nothing is written before the approval"
        await approve(client, run)
        assert state(await ended(client, run)) == "COMPLETED"
    assert (project / "a.py").read_text() == "new\n"


async def test_what_the_approver_saw_is_what_was_applied_whatever_the_model_says_later(
    observed: Observed,
) -> None:
    project = observed.up.project(a__py="one\n")
    observed.model.script(chat({"new_content": "drafted first\n"}), chat({"new_content": "later\n"}))
    async with observed.up.client() as client:
        run = await start(client, project, "{edit_file: {path: a.py, instruction: Improve it}}")
        shown = await pending(client, run)
        asked = len(observed.model.asked)
        await client.decide(shown, "approve")
        run = await ended(client, run)
        assert state(run) == "COMPLETED"
        assert len(observed.model.asked) == asked, "the model is not asked again"
        assert run.steps[0].effect.effect_digest == shown.digest
        applied = await client.read_file(run.workspace_id, "a.py", tree=shown.preview.result_tree)
    assert "+drafted first" in shown.preview.diff
    assert (project / "a.py").read_bytes() == applied.data == b"drafted first\n"


async def test_what_the_approver_saw_is_what_was_applied_whatever_a_second_execution_would_do(
    up: Installation,
) -> None:
    project = up.project()
    command = "head -c 16 /dev/urandom | od -An -tx1 > random.txt; cat random.txt"
    async with up.client() as client:
        run = await start(client, project, f"{{run_command: {{command: '{command}'}}, gate: effect}}")
        shown = await approve(client, run)
        run = await ended(client, run)
    assert shown.preview.stdout.head == (project / "random.txt").read_bytes() != b""
    assert run.head_tree == shown.preview.result_tree


async def test_what_the_approver_saw_is_not_applied_over_a_file_that_changed_meanwhile(
    up: Installation,
) -> None:
    project = up.project(a__txt="one\n", b__txt="b\n")
    async with up.client() as client:
        run = await start(client, project, "{run_command: {command: 'echo two >> a.txt'}, gate: effect}")
        first = await pending(client, run)
        (project / "a.txt").write_text("someone else\n")
        await client.decide(first, "approve")
        second = await pending(client, run)
        assert second.digest != first.digest
        assert (project / "a.txt").read_text() == "someone else\n", "no overlap is published unseen"
        assert " someone else\n+two" in second.preview.diff
        (project / "b.txt").write_text("elsewhere\n")
        await client.decide(second, "approve")
        assert state(await ended(client, run)) == "COMPLETED"
    assert (project / "a.txt").read_text() == "someone else\ntwo\n"
    assert (project / "b.txt").read_text() == "elsewhere\n", "what does not overlap stays"


# Its own name in the tree tells how often it took effect; the marker tells how often it began.
COUNTING = "echo x >> count.txt; echo began; {wait}; echo done > done.txt"


async def _mid_command(up: Installation, gate: str, *killed: str) -> tuple[Run, Path, list[str]]:
    """A run of one command, during which services are killed."""
    project = up.project(a__txt="a\n")
    command = COUNTING.format(wait="sleep 3")
    async with up.client(patient=True) as client:
        run = await start(
            client,
            project,
            f"{{run_command: {{command: '{command}'}}, gate: {gate}}}",
            "read_file: {path: done.txt}",
        )
        if gate == "command":
            await approve(client, run)
        await _until_output(client, run, b"began")
        up.kill(*killed)
        if gate == "effect":
            await approve(client, run)
        run = await ended(client, run)
        return run, project, await events(client, run)


async def _until_output(client: Client, run: Run, text: bytes) -> None:
    async with asyncio.timeout(SECONDS):
        async for message in client.watch_run(run.run_id):
            if message.WhichOneof("update") == "output" and text in message.output.data:
                return
    raise AssertionError("the run ended before the command wrote")


@pytest.mark.parametrize(
    ("gate", "killed"),
    [
        ("command", ("executor",)),
        ("command", ("orchestrator",)),
        ("command", BOTH_KILLED),
        ("effect", BOTH_KILLED),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
async def test_a_step_that_was_running_when_its_process_died_is_not_lost_and_not_done_twice(
    crashing: Installation, gate: str, killed: tuple[str, ...]
) -> None:
    run, project, types = await _mid_command(crashing, gate, *killed)
    assert state(run) == "COMPLETED"
    assert states(run) == ["SUCCEEDED", "SUCCEEDED"]
    assert (project / "count.txt").read_text() == "x\n"
    assert run.steps[1].effect.content.head == b"done\n"
    assert types.count("step.succeeded") == 2
    assert types.count("run.completed") == 1


@pytest.mark.parametrize("killed", [("executor",), BOTH_KILLED], ids="+".join)
async def test_a_publication_that_a_crash_cut_short_happens_once_and_whole(
    crashing: Installation, killed: tuple[str, ...]
) -> None:
    project = crashing.project(**{f"old___f{i}__txt": f"{i}\n" for i in range(300)})
    move = "mv old new; for i in $(seq 300); do echo $i > new/more$i; done; echo x >> count.txt"
    async with crashing.client(patient=True) as client:
        run = await start(
            client,
            project,
            f"{{run_command: {{command: '{move}'}}, gate: effect}}",
            "read_file: {path: count.txt}",
        )
        shown = await approve(client, run)
        crashing.kill(*killed)
        run = await ended(client, run)
        assert state(run) == "COMPLETED"
        assert run.head_tree == shown.preview.result_tree
        head = (await client.get_workspace(run.workspace_id)).head_tree
        entries = {entry.path async for entry in client.list_files(run.workspace_id)}
        types = await events(client, run)
    assert head == shown.preview.result_tree
    assert entries == set(snapshot(project)), "the directory is what was approved, nothing half"
    assert len(entries) == 602
    assert (project / "count.txt").read_text() == "x\n"
    assert types.count("step.applying") == types.count("approval.decided") == 1


async def test_a_run_whose_command_fails_after_a_crash_does_not_end_completed(crashing: Installation) -> None:
    project = crashing.project()
    async with crashing.client(patient=True) as client:
        run = await start(client, project, "run_command: {command: 'echo began; sleep 2; touch x; exit 3'}")
        await approve(client, run)
        await _until_output(client, run, b"began")
        crashing.kill("orchestrator")
        run = await ended(client, run)
    assert (state(run), states(run)) == ("FAILED", ["FAILED"])
    assert run.failure.reason == "COMMAND_FAILED"
    assert list(project.iterdir()) == [], "nothing of a failed step is published"


async def test_the_runs_own_workspace_is_used(up: Installation) -> None:
    mine, other = up.project(mine__txt="1\n"), up.project(other__txt="2\n")
    untouched = snapshot(other)
    async with up.client() as client:
        await client.open_directory(other)
        step = "{run_command: {command: 'ls > seen.txt; echo $PWD'}, gate: effect}"
        run = await start(client, mine, step)
        await approve(client, run)
        run = await ended(client, run)
        assert (await client.get_workspace(run.workspace_id)).path == str(mine)
    assert (mine / "seen.txt").read_text().split() == ["mine.txt", "seen.txt"]
    assert snapshot(other) == untouched


async def test_tokens_of_the_real_model_are_recorded_and_its_reply_is_not_a_placeholder(
    up: Installation,
) -> None:
    project = up.project(a__py="def add(a, b):\n    return a + b\n")
    async with up.client() as client:
        run = await start(
            client, project, "read_file: {path: a.py}", "summarize: {instruction: Say what it does}"
        )
        run = await ended(client, run)
        cost = await client.get_cost(run.run_id)
    assert state(run) == "COMPLETED"
    (call,) = run.steps[1].model_calls
    assert call.cost.prompt_tokens > 20
    assert call.cost.completion_tokens > 0
    assert call.latency.ToMicroseconds() > 0
    assert run.steps[1].reply.strip()
    assert cost.total.prompt_tokens == call.cost.prompt_tokens
    assert cost.total.model_calls == 1
    assert cost.total.unpriced_calls == 0


async def test_costs_are_what_the_gateway_charged(observed: Observed) -> None:
    observed.model.script(
        chat(
            "fine",
            usage={"prompt_tokens": 1200, "completion_tokens": 34},
            headers={"x-litellm-response-cost": "0.0123456"},
        )
    )
    project = observed.up.project(a__py="x\n")
    steps = ["analyze: {instruction: Is it fine?}", "summarize: {}"]
    async with observed.up.client() as client:
        run = await ended(client, await start(client, project, *steps))
        cost = await client.get_cost(run.run_id)
    assert state(run) == "COMPLETED"
    assert [step.cost.total.micros for step in run.steps] == [12346, 12346]
    assert run.cost.total.micros == cost.total.total.micros == 24692
    assert (run.cost.prompt_tokens, run.cost.completion_tokens) == (2400, 68)


async def test_an_unknown_price_is_unknown_and_not_zero(observed: Observed) -> None:
    observed.model.script(chat("fine"))
    async with observed.up.client() as client:
        run = await start(client, observed.up.project(), "summarize: {}")
        run = await ended(client, run)
    assert state(run) == "COMPLETED"
    assert not run.cost.HasField("total")
    assert not run.cost.HasField("prompt_tokens")
    assert (run.cost.model_calls, run.cost.unpriced_calls) == (1, 1)


async def test_commands_are_really_executed(up: Installation) -> None:
    project = up.project(numbers__txt="3\n1\n2\n")
    program = "import sys; print(sum(map(int, open(sys.argv[1])))); sys.stderr.write('counted'); sys.exit(5)"
    async with up.client() as client:
        run = await start(
            client,
            project,
            "{run_command: {command: 'sort numbers.txt | tee sorted.txt'}, gate: effect}",
            f'run_command: {{argv: [python3, -c, "{program}", sorted.txt]}}',
        )
        await approve(client, run)
        await approve(client, run)
        run = await ended(client, run)
    assert (state(run), states(run)) == ("FAILED", ["SUCCEEDED", "FAILED"])
    assert (project / "sorted.txt").read_text() == "1\n2\n3\n"
    failed = run.steps[1]
    assert failed.effect.exit_code == 5
    assert failed.effect.stdout.head == b"6\n"
    assert failed.effect.stderr.head == b"counted"
    assert failed.effect.usage.wall.ToMicroseconds() > 0

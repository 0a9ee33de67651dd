"""Bad input and a bad model, through the real stack: a typed, documented error each, and a run in the right state."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.e2e.conftest import Observed
from tests.support.installation import Installation, snapshot
from tests.support.models import HANG, HTML, Answer, chat, of
from tests.support.working import approve, ended, events, pending, start, state, states

from interlock.client import Client, InterlockError
from interlock.common.client import error_from_rpc
from interlock.v1 import orchestrator_pb2 as pb
from interlock.v1.approval_pb2 import GetApprovalRequest
from interlock.v1.step_pb2 import StepSpec

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.slow]


@pytest.fixture
async def client(up: Installation) -> AsyncIterator[Client]:
    async with up.client() as opened:
        yield opened


@pytest.fixture
def project(up: Installation) -> Path:
    """Every kind of file that a step can stumble over."""
    directory = up.project(text__txt="one\ntwo\nthree\n", src___a__py="a\n")
    (directory / "binary").write_bytes(bytes(range(256)) * 40)
    (directory / "link").symlink_to("/etc/passwd")
    with open(directory / "huge", "wb") as file:
        file.truncate(1 << 30)
    return directory


def documented(reason: str) -> None:
    """There is a page about it that says what to do."""
    page = (ROOT / "docs" / "errors" / f"{reason}.md").read_text(encoding="utf-8")
    assert "What to do" in page or "what to do" in page, reason


def read(path: str) -> str:
    return f"read_file: {{path: '{path}'}}"


def edit(path: str) -> str:
    return f"edit_file: {{path: '{path}', new_content: x}}"


def patch(body: str) -> str:
    text = "--- a/text.txt\\n+++ b/text.txt\\n" + body
    return f'edit_file: {{path: text.txt, patch: "{text}"}}'


STEPS = [
    (read("nowhere.txt"), "PATH_NOT_FOUND"),
    (read("src"), "PATH_IS_DIRECTORY"),
    (read("binary"), "FILE_BINARY"),
    (read("huge"), "FILE_TOO_LARGE"),
    (read("link"), "PATH_OUTSIDE_WORKSPACE"),
    (edit("src"), "PATH_IS_DIRECTORY"),
    (patch("@@ -1,2 +1,2 @@\\n one\\n-nothing like it\\n+x\\n"), "PATCH_DOES_NOT_APPLY"),
    (patch("@@ nonsense @@\\n"), "PATCH_INVALID"),
    ("run_command: {command: 'exit 1'}", "COMMAND_FAILED"),
    ("run_command: {argv: [no-such-program]}", "COMMAND_NOT_FOUND"),
    ("run_command: {command: sleep 60, timeout: 200ms}", "COMMAND_TIMED_OUT"),
    ("run_command: {command: 'true', network: ['192.0.2.1:443']}", "NETWORK_NOT_AVAILABLE"),
]


@pytest.mark.parametrize(("step", "reason"), STEPS, ids=[f"{reason}-{step[:24]}" for step, reason in STEPS])
async def test_a_step_that_cannot_be_done_fails_by_its_reason_and_changes_nothing(
    client: Client, project: Path, step: str, reason: str
) -> None:
    if reason != "FILE_TOO_LARGE":
        (project / "huge").unlink()
    before = set(os.listdir(project))
    policy = "policy: {edit_file_gate: none, run_command_gate: none, steps_may_weaken: true}"
    run = await ended(client, await start(client, project, step, read("text.txt"), head=policy))
    assert (state(run), states(run)) == ("FAILED", ["FAILED", "PENDING"])
    failure = run.steps[0].failure
    assert (failure.reason, run.failure.reason) == (reason, reason)
    assert failure.message
    assert len(failure.message) <= 2000
    assert "Traceback" not in failure.message
    documented(reason)
    assert set(os.listdir(project)) == before
    assert (project / "text.txt").read_text() == "one\ntwo\nthree\n"


@pytest.mark.parametrize("path", ["../outside.txt", "/etc/passwd", "src/../../x", "a\0b", "x" * 5000, ""])
@pytest.mark.parametrize("kind", ["read_file", "edit_file"])
async def test_a_path_outside_the_workspace_is_refused_or_fails_the_step(
    client: Client, up: Installation, kind: str, path: str
) -> None:
    project = up.project(a__txt="a\n")
    workspace = await client.open_directory(project)
    spec = StepSpec()
    if kind == "read_file":
        spec.input.read_file.path = path
    else:
        spec.input.edit_file.path, spec.input.edit_file.new_content = path, "x"
    try:
        run = await client.create_run("bad path", workspace.workspace_id, [spec], start=True)
    except InterlockError as error:
        reason = error.reason.value
        assert await client.list_runs(workspace_id=workspace.workspace_id) == []
    else:
        run = await ended(client, run)
        assert state(run) == "FAILED"
        reason = run.failure.reason
    assert reason in {"PATH_OUTSIDE_WORKSPACE", "VALIDATION_FAILED", "INVALID_ARGUMENT"}
    documented(reason)
    assert list(snapshot(project)) == ["a.txt"]
    assert not (project.parent / "outside.txt").exists()


async def refused(awaitable: Any, reason: str) -> InterlockError:
    """The error of a call, which has the reason, a page about it, and something to do."""
    with pytest.raises(InterlockError) as caught:
        await awaitable
    assert caught.value.reason.value == reason
    assert caught.value.fix
    documented(reason)
    return caught.value


async def test_steps_without_kind_or_field_are_refused_by_the_name_of_the_field(
    client: Client, up: Installation
) -> None:
    workspace = (await client.open_directory(up.project())).workspace_id
    empty, pathless, changeless = StepSpec(), StepSpec(), StepSpec()
    pathless.input.edit_file.new_content = "x"
    changeless.input.edit_file.path = "a"
    for spec, field in ((empty, "steps[0].input"), (pathless, "path"), (changeless, "change")):
        error = await refused(client.create_run("bad", workspace, [spec]), "VALIDATION_FAILED")
        assert field in error.field + str(error), (error.field, str(error))
    spec = StepSpec()
    spec.input.SetInParent()
    await refused(client.create_run("bad", workspace, [spec]), "VALIDATION_FAILED")
    assert await client.list_runs(workspace_id=workspace) == []


async def test_an_empty_plan_is_not_started(client: Client, up: Installation) -> None:
    workspace = (await client.open_directory(up.project())).workspace_id
    await refused(client.create_run("nothing", workspace, start=True), "RUN_EMPTY_PLAN")
    run = await client.create_run("nothing", workspace)
    await refused(client.start_run(run.run_id), "RUN_EMPTY_PLAN")
    assert state(await client.get_run(run.run_id)) == "CREATED"


async def test_ten_thousand_steps_are_accepted_and_one_more_is_not(client: Client, up: Installation) -> None:
    workspace = (await client.open_directory(up.project(a__txt="a\n"))).workspace_id
    spec = StepSpec()
    spec.input.read_file.path = "a.txt"
    run = await client.create_run("many", workspace, [spec] * 10_000)
    assert run.steps_total == 10_000
    await refused(client.add_steps(run.run_id, [spec]), "RUN_TOO_MANY_STEPS")
    assert (await client.get_run(run.run_id, without_steps=True)).steps_total == 10_000
    assert [step.number async for step in client.list_steps(run.run_id)] == list(range(1, 10_001))
    with pytest.raises(InterlockError) as caught:
        await client.create_run("too many", workspace, [spec] * 10_001)
    assert caught.value.reason.value in {"RUN_TOO_MANY_STEPS", "VALIDATION_FAILED"}
    assert len(await client.list_runs(workspace_id=workspace)) == 1
    await client.cancel_run(run.run_id)


async def test_a_completed_run_is_not_executed_again(client: Client, up: Installation) -> None:
    run = await ended(client, await start(client, up.project(a__txt="a\n"), read("a.txt")))
    for call in (
        client.start_run(run.run_id),
        client.execute_next_step(run.run_id),
        client.resume_run(run.run_id),
        client.pause_run(run.run_id),
        client.cancel_run(run.run_id),
    ):
        error = await refused(call, "RUN_WRONG_STATE")
        assert error.metadata["current"] == "COMPLETED"
    await refused(client.retry_step(run.run_id, 1), "RUN_WRONG_STATE")
    assert (await client.get_run(run.run_id)).journal_head == run.journal_head


async def test_an_approval_counts_once_and_for_its_own_run_and_digest_only(
    client: Client, up: Installation
) -> None:
    run = await start(client, up.project(), edit("a.txt"), edit("b.txt"))
    other = await start(client, up.project(), edit("c.txt"))
    mine, theirs = await pending(client, run), await pending(client, other)
    stolen = type(theirs)()
    stolen.CopyFrom(theirs)
    stolen.run_id, stolen.step = mine.run_id, mine.step
    await refused(client.decide(stolen, "approve"), "APPROVAL_WRONG_STEP")
    changed = type(mine)()
    changed.CopyFrom(mine)
    changed.digest = theirs.digest
    await refused(client.decide(changed, "approve"), "APPROVAL_DIGEST_MISMATCH")
    assert states(await client.get_run(run.run_id)) == ["AWAITING_APPROVAL", "PENDING"]
    assert states(await client.get_run(other.run_id)) == ["AWAITING_APPROVAL"]
    await client.decide(mine, "approve")
    await refused(client.decide(mine, "approve"), "APPROVAL_ALREADY_DECIDED")
    await refused(client.decide(mine, "reject"), "APPROVAL_ALREADY_DECIDED")
    await approve(client, run)
    assert states(await ended(client, run)) == ["SUCCEEDED", "SUCCEEDED"]
    await client.cancel_run(other.run_id)


RUN, APPROVAL, WORKSPACE = (f"{prefix}-01jd9yq8x0c3v7m5k2h4n6p8rs" for prefix in ("run", "apr", "ws"))


async def test_unknown_ids_are_not_found(client: Client, up: Installation) -> None:
    run = await start(client, up.project(), edit("a.txt"), start=False)
    shown = GetApprovalRequest(approval_id=APPROVAL)
    for call, reason in (
        (client.get_run(RUN), "RUN_NOT_FOUND"),
        (client.start_run(RUN), "RUN_NOT_FOUND"),
        (client.get_cost(RUN), "RUN_NOT_FOUND"),
        (client.rollback_run(RUN), "RUN_NOT_FOUND"),
        (client.get_step(run.run_id, 2), "STEP_NOT_FOUND"),
        (client.skip_step(run.run_id, 99), "STEP_NOT_FOUND"),
        (client.call(client.approval.GetApproval, shown), "APPROVAL_NOT_FOUND"),
        (client.get_workspace(WORKSPACE), "WORKSPACE_NOT_FOUND"),
        (client.create_run("x", WORKSPACE), "WORKSPACE_NOT_FOUND"),
        (client.read_file(run.workspace_id, "a.txt", tree="sha256:" + "0" * 64), "TREE_NOT_FOUND"),
        (client.open_directory("/nowhere/at/all"), "WORKSPACE_SOURCE_INVALID"),
    ):
        await refused(call, reason)


async def test_a_request_id_stands_for_one_request(client: Client, up: Installation) -> None:
    workspace = (await client.open_directory(up.project())).workspace_id
    first, again = [await client.create_run("x", workspace, request_id=f"once-{workspace}") for _ in range(2)]
    assert first.run_id == again.run_id
    await refused(client.create_run("y", workspace, request_id=f"once-{workspace}"), "REQUEST_ID_REUSED")


async def test_an_oversized_message_is_refused_and_the_connection_goes_on(
    client: Client, up: Installation
) -> None:
    workspace = (await client.open_directory(up.project())).workspace_id
    spec = StepSpec()
    spec.input.edit_file.path, spec.input.edit_file.new_content = "a.txt", "x" * (8 << 20)
    error = await refused(client.create_run("big", workspace, [spec, spec, spec]), "MESSAGE_TOO_LARGE")
    assert "Traceback" not in str(error)
    assert await client.list_runs(workspace_id=workspace) == []
    run = await client.create_run("as big as allowed", workspace, [spec], start=True)
    await approve(client, run)
    assert state(await ended(client, run)) == "COMPLETED"


async def test_a_caller_without_token_or_method_is_refused(up: Installation) -> None:
    address = up.endpoints["orchestrator"]
    async with grpc.aio.insecure_channel(address) as channel:
        for method in ("ListRuns", "NoSuchMethod"):
            call = channel.unary_unary(
                f"/interlock.v1.Orchestrator/{method}",
                request_serializer=pb.ListRunsRequest.SerializeToString,
                response_deserializer=pb.ListRunsResponse.FromString,
            )
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(pb.ListRunsRequest(), timeout=10)
            assert caught.value.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNIMPLEMENTED)
            assert error_from_rpc(caught.value, "orchestrator").reason.value in (
                "UNAUTHENTICATED",
                "INTERNAL",
                "INVALID_ARGUMENT",
            )


CUT = Answer(200, b'{"id": "x", "choices": [{"index": 0, "message": {"role": "assi')
MODELS = {
    "garbage": (Answer(200, b"\x00\xff\xfe not json"), "MODEL_REPLY_INVALID"),
    "html": (HTML, "MODEL_REPLY_INVALID"),
    "truncated-json": (CUT, "MODEL_REPLY_INVALID"),
    "broken-off": (Answer(200, chat("fine").body, fault="cut"), "MODEL_REPLY_INVALID"),
    "closed": (Answer(fault="close"), "MODEL_UNAVAILABLE"),
    "empty": (chat(""), "MODEL_REPLY_INVALID"),
    "429": (of({"error": {"message": "slow down"}}, 429, retry_after="0"), "MODEL_RATE_LIMITED"),
    "500": (of({"error": {"message": "oops"}}, 500), "MODEL_UNAVAILABLE"),
    "401": (of({"error": {"message": "bad key"}}, 401), "MODEL_UNAUTHENTICATED"),
    "hangs": (HANG, "MODEL_TIMEOUT"),
}


@pytest.mark.parametrize("behaviour", MODELS)
async def test_a_bad_model_fails_the_step_which_can_be_tried_again(
    observed: Observed, behaviour: str
) -> None:
    answer, reason = MODELS[behaviour]
    observed.model.script(answer)
    project = observed.up.project(a__txt="a\n")
    async with observed.up.client() as client:
        run = await start(
            client, project, read("a.txt"), "analyze: {instruction: What is it?}", edit("b.txt")
        )
        run = await ended(client, run)
        assert (state(run), states(run)) == ("FAILED", ["SUCCEEDED", "FAILED", "PENDING"])
        assert run.steps[1].failure.reason == run.failure.reason == reason, run.failure
        documented(reason)
        observed.model.script(chat("An a."))
        await client.retry_step(run.run_id, 2)
        await approve(client, run)
        run = await ended(client, run)
        assert (state(run), states(run)) == ("COMPLETED", ["SUCCEEDED"] * 3)
        assert run.steps[1].reply == "An a."
        assert run.steps[1].attempt == 2
        types = await events(client, run)
    assert types.count("step.failed") == 1


@pytest.mark.parametrize("behaviour", ["garbage", "500", "hangs"])
async def test_a_bad_model_plans_nothing_and_leaves_the_run_as_it_was(
    observed: Observed, behaviour: str
) -> None:
    answer, reason = MODELS[behaviour]
    observed.model.script(answer)
    async with observed.up.client() as client:
        workspace = (await client.open_directory(observed.up.project(a__txt="a\n"))).workspace_id
        run = await client.create_run("plan something", workspace)
        await refused(client.plan_run(run.run_id), reason)
        run = await client.get_run(run.run_id)
        assert (state(run), run.steps_total) == ("CREATED", 0)
        observed.model.script(chat({"steps": [{"kind": "read_file", "name": "Look", "path": "a.txt"}]}))
        await client.plan_run(run.run_id)
        run = await client.get_run(run.run_id)
        assert (state(run), run.steps[0].spec.input.read_file.path) == ("PLANNED", "a.txt")


async def test_a_model_that_is_down_fails_the_step_and_answers_when_it_is_back(observed: Observed) -> None:
    observed.model.script(chat("Back again."))
    observed.model_loop.call(observed.model.refuse())
    try:
        async with observed.up.client() as client:
            run = await start(client, observed.up.project(), "summarize: {}")
            run = await ended(client, run)
            assert (state(run), run.failure.reason) == ("FAILED", "MODEL_UNAVAILABLE")
            observed.model_loop.call(observed.model.listen())
            await client.retry_step(run.run_id, 1)
            run = await ended(client, run)
            assert (state(run), run.steps[0].reply) == ("COMPLETED", "Back again.")
    finally:
        observed.model_loop.call(observed.model.refuse())
        observed.model_loop.call(observed.model.listen())


async def test_calls_at_once_are_all_answered(client: Client, up: Installation) -> None:
    run = await start(client, up.project(), edit("a.txt"))
    shown = await pending(client, run)
    decisions = [client.decide(shown, verdict) for verdict in ("approve", "reject", "skip") for _ in range(4)]
    answers = await asyncio.gather(*decisions, return_exceptions=True)
    won = [answer for answer in answers if not isinstance(answer, BaseException)]
    lost = [answer for answer in answers if isinstance(answer, InterlockError)]
    assert len(won) == 1
    assert len(lost) == 11
    assert {error.reason.value for error in lost} == {"APPROVAL_ALREADY_DECIDED"}

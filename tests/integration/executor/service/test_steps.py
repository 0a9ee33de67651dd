"""Each kind of step, prepared, looked at, applied and discarded by hand through the real service."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
from typing import Any

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.v1 import executor_pb2 as pb
from interlock.v1 import step_pb2

BOTH_FORKS = True

PREPARED, FAILED = pb.EFFECT_STATE_PREPARED, pb.EFFECT_STATE_FAILED
PATCH = "--- a/a.txt\n+++ b/a.txt\n@@ -1,3 +1,3 @@\n one\n-two\n+zwei\n three\n"


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


async def test_read_file(executor: Any, act: Any) -> None:
    ws = await executor.workspace()
    answer = await executor.prepare(ws, act.read("a.txt"))
    assert answer.state == PREPARED
    content = answer.effect.content
    assert (content.head, content.total_bytes, content.digest) == (
        b"one\ntwo\nthree\n",
        14,
        digest(b"one\ntwo\nthree\n"),
    )
    assert answer.effect.base_tree == answer.effect.result_tree == await executor.head(ws)
    lines = await executor.prepare(ws, act.read("a.txt", 2, 2), step=2)
    assert lines.effect.content.head == b"two\n"
    applied = await executor.apply(answer)
    assert applied.head_tree == answer.effect.base_tree


async def test_edit_file_with_content(executor: Any, act: Any) -> None:
    ws = await executor.workspace()
    answer = await executor.prepare(ws, act.edit("dir/new.txt", new_content="hello\n"))
    assert answer.state == PREPARED
    assert "+hello" in answer.effect.diff
    assert [(c.path, c.kind) for c in answer.effect.changes if c.path.endswith(".txt")] == [
        ("dir/new.txt", step_pb2.CHANGE_KIND_ADDED)
    ]
    assert not (executor.live / "dir").exists()
    applied = await executor.apply(answer)
    assert applied.head_tree == answer.effect.result_tree == await executor.head(ws)
    assert (executor.live / "dir/new.txt").read_text() == "hello\n"


async def test_edit_file_with_a_patch(executor: Any, act: Any) -> None:
    ws = await executor.workspace()
    answer = await executor.prepare(ws, act.edit("a.txt", patch=PATCH))
    assert answer.state == PREPARED
    assert "-two\n+zwei\n" in answer.effect.diff
    await executor.apply(answer)
    assert (executor.live / "a.txt").read_text() == "one\nzwei\nthree\n"
    again = await executor.prepare(ws, act.edit("a.txt", patch=PATCH), step=2)
    assert (again.state, again.failure.reason) == (FAILED, "PATCH_DOES_NOT_APPLY")
    assert again.failure.metadata["hunk"] == "1"
    assert again.effect.base_tree == again.effect.result_tree


async def test_run_command(executor: Any, act: Any) -> None:
    ws = await executor.workspace()
    line = "echo out; echo err >&2; echo four >> a.txt; mkdir d; echo x > d/f; rm -f nothing"
    answer = await executor.prepare(ws, act.command(line))
    effect = answer.effect
    assert (answer.state, effect.exit_code, effect.HasField("exit_code")) == (PREPARED, 0, True)
    assert (effect.stdout.head, effect.stderr.head) == (b"out\n", b"err\n")
    assert {c.path for c in effect.changes} == {"a.txt", "d", "d/f"}
    assert "+four" in effect.diff
    assert effect.sandbox.backend == "bubblewrap"
    assert list(effect.argv)[1:] == ["-c", line]
    assert (executor.live / "a.txt").read_text() == "one\ntwo\nthree\n"
    await executor.apply(answer)
    assert (executor.live / "a.txt").read_text() == "one\ntwo\nthree\nfour\n"
    assert (executor.live / "d/f").read_text() == "x\n"


async def test_a_failing_command_is_data(executor: Any, act: Any) -> None:
    ws = await executor.workspace()
    answer = await executor.prepare(ws, act.command("echo broken > a.txt; exit 3"))
    assert (answer.state, answer.effect.exit_code) == (FAILED, 3)
    assert (answer.failure.reason, answer.failure.metadata["exit_code"]) == ("COMMAND_FAILED", "3")
    assert "+broken" in answer.effect.diff
    with pytest.raises(InterlockError) as caught:
        await executor.apply(answer)
    assert caught.value.reason is Reason.EFFECT_NOT_PUBLISHABLE
    assert (executor.live / "a.txt").read_text() == "one\ntwo\nthree\n"


async def test_an_allowed_exit_code_is_success(executor: Any, act: Any) -> None:
    ws = await executor.workspace()
    answer = await executor.prepare(ws, act.command("exit 3", allowed_exit_codes=[3]))
    assert (answer.state, answer.effect.exit_code) == (PREPARED, 3)


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (("read", "missing.txt"), "PATH_NOT_FOUND"),
        (("read", "dir"), "PATH_IS_DIRECTORY"),
        (("read", "../x"), "PATH_OUTSIDE_WORKSPACE"),
        (("read", "/etc/passwd"), "PATH_OUTSIDE_WORKSPACE"),
        (("read", "zero.bin"), "FILE_BINARY"),
        (("read", "a.txt", 9, 10), "INVALID_ARGUMENT"),
        (("command", "sleep 100"), "COMMAND_TIMED_OUT"),
        (("command", "kill -9 $$"), "COMMAND_FAILED"),
        (("command", "mkfifo pipe"), "EFFECT_NOT_PUBLISHABLE"),
    ],
)
async def test_failures_are_data(executor: Any, act: Any, action: tuple[Any, ...], reason: str) -> None:
    ws = await executor.workspace(**{"dir/x": "x", "zero.bin": "a\0b"})
    message = getattr(act, action[0])(*action[1:])
    if reason == "COMMAND_TIMED_OUT":
        message.run_command.timeout.FromMilliseconds(300)
    answer = await executor.prepare(ws, message)
    assert (answer.state, answer.failure.reason) == (FAILED, reason), answer
    assert answer.failure.message
    assert answer.effect.base_tree == await executor.head(ws)


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (("command", "x", {"working_dir": "../.."}), Reason.PATH_OUTSIDE_WORKSPACE),
        (("command", "x", {"network": ["192.0.2.1:443"]}), Reason.NETWORK_NOT_AVAILABLE),
        (("edit", "a.txt", {"instruction": "shorten"}), Reason.INVALID_ARGUMENT),
        (("read", "", {}), Reason.VALIDATION_FAILED),
    ],
)
async def test_what_cannot_be_tried_is_an_error(
    executor: Any, act: Any, action: tuple[Any, ...], reason: Reason
) -> None:
    ws = await executor.workspace()
    with pytest.raises(InterlockError) as caught:
        await executor.prepare(ws, getattr(act, action[0])(action[1], **action[2]))
    assert caught.value.reason is reason


async def test_unknown_things(executor: Any, act: Any) -> None:
    for call in (
        executor.prepare("ws-none", act.read("a")),
        executor.prepare("ws-none", act.command("true"), step=2),
        executor.call(
            "Propose", pb.ProposeRequest(key=executor.key(), workspace_id="ws-none", action=act.read("a"))
        ),
    ):
        with pytest.raises(InterlockError) as caught:
            await call
        assert caught.value.reason is Reason.WORKSPACE_NOT_FOUND
    with pytest.raises(InterlockError) as caught:
        await executor.call("GetEffect", pb.GetEffectRequest(key=executor.key(9)))
    assert caught.value.reason is Reason.EFFECT_NOT_FOUND


async def test_propose_binds_what_runs(executor: Any, act: Any) -> None:
    ws = await executor.workspace()
    action = act.command("echo hi > made")
    proposed = await executor.call(
        "Propose", pb.ProposeRequest(key=executor.key(), workspace_id=ws, action=action)
    )
    asked = proposed.effect.request_digest
    assert asked.startswith("sha256:")
    assert list(proposed.effect.argv)[-1] == "echo hi > made"
    assert proposed.limits.wall.seconds == 600
    with pytest.raises(InterlockError) as caught:
        await executor.prepare(ws, act.command("echo other"), expected_request_digest=asked)
    assert caught.value.reason is Reason.EFFECT_DIGEST_MISMATCH
    prepared = await executor.prepare(ws, action, expected_request_digest=asked)
    assert prepared.effect.request_digest == asked
    await executor.apply(prepared, approved_digest=asked)
    assert (executor.live / "made").read_text() == "hi\n"


async def test_discard(executor: Any, act: Any) -> None:
    ws = await executor.workspace()
    prepared = await executor.prepare(ws, act.command("echo hi > made"))
    for _ in range(2):
        assert (await executor.discard()).state == pb.EFFECT_STATE_DISCARDED
    with pytest.raises(InterlockError) as caught:
        await executor.apply(prepared)
    assert caught.value.reason is Reason.EFFECT_DISCARDED
    assert (await executor.prepare(ws, act.command("echo hi > made"))).state == pb.EFFECT_STATE_DISCARDED


async def test_discard_ends_a_step_under_way(executor: Any, act: Any) -> None:
    ws = await executor.workspace()
    running = asyncio.create_task(executor.prepare(ws, act.command("echo begun; sleep 1000 & sleep 1000")))
    await started(executor)
    async for answer in executor.stub.StreamOutput(pb.StreamOutputRequest(key=executor.key())):
        if answer.chunk.data == b"begun\n":
            break
    assert (await executor.discard()).state == pb.EFFECT_STATE_DISCARDED
    with pytest.raises(InterlockError) as caught:
        await running
    assert caught.value.reason is Reason.EFFECT_DISCARDED


async def started(executor: Any) -> bool:
    while True:
        try:
            await executor.call("GetEffect", pb.GetEffectRequest(key=executor.key()))
        except InterlockError:
            await asyncio.sleep(0.01)
        else:
            return True


async def test_a_key_names_one_request(executor: Any, act: Any) -> None:
    ws = await executor.workspace()
    await executor.prepare(ws, act.read("a.txt"))
    with pytest.raises(InterlockError) as caught:
        await executor.prepare(ws, act.command("true"))
    assert caught.value.reason is Reason.REQUEST_ID_REUSED


async def test_calls_at_the_same_time_join(executor: Any, act: Any) -> None:
    ws = await executor.workspace()
    action = act.command("cat /proc/sys/kernel/random/uuid; sleep 0.2")
    answers = await asyncio.gather(*(executor.prepare(ws, action) for _ in range(5)))
    assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 1
    assert (await executor.prepare(ws, action)).effect.stdout.head == answers[0].effect.stdout.head


async def test_output_streams_while_it_runs_and_afterwards(executor: Any, act: Any) -> None:
    ws = await executor.workspace()
    running = asyncio.create_task(
        executor.prepare(ws, act.command("for i in 1 2 3; do echo $i; sleep 0.1; done; echo e >&2"))
    )
    await started(executor)
    live = await collect(executor, 0)
    await running
    assert live == {1: b"1\n2\n3\n", 2: b"e\n"}
    assert await collect(executor, 0) == live
    assert await collect(executor, 4) == {1: b"3\n", 2: b"e\n"}


async def collect(executor: Any, offset: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    async for answer in executor.stub.StreamOutput(
        pb.StreamOutputRequest(key=executor.key(), stdout_offset=offset)
    ):
        if answer.HasField("chunk"):
            stream = answer.chunk.stream
            start = offset if stream == step_pb2.OUTPUT_STREAM_STDOUT else 0
            assert answer.chunk.offset == start + len(found.get(stream, b""))
            found[stream] = found.get(stream, b"") + answer.chunk.data
    return found


async def test_a_virtual_environment_in_the_workspace_just_works(executor: Any, act: Any) -> None:
    """Its scripts name their interpreter by the workspace's own path, not by /workspace."""
    ws = await executor.workspace()
    made = executor.live / ".venv"
    await asyncio.to_thread(
        subprocess.run, ["/usr/bin/python3", "-m", "venv", "--without-pip", made], check=True
    )
    script = made / "bin/tool"
    script.write_text(
        f"#!{made}/bin/python\nimport sys, os\nprint(sys.prefix != sys.base_prefix, os.getcwd())\n"
    )
    script.chmod(0o755)
    answer = await executor.prepare(ws, act.command(".venv/bin/tool"))
    assert (answer.effect.exit_code, answer.effect.stdout.head) == (0, b"True /workspace\n"), answer

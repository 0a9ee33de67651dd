"""Steps with secrets on a real executor: what they are given, what of it can be seen, and what is refused."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import secrets
import shutil
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.files_below import files_below

from interlock.common.client import rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.executor.secrets.encodings import forms
from interlock.v1 import executor_pb2 as pb
from interlock.v1 import step_pb2

TOKEN = "tok/" + secrets.token_urlsafe(24) + "+&\"'\\<é>"
KEY = "-----BEGIN KEY-----\n" + "\n".join(secrets.token_hex(32) for _ in range(5)) + "\n-----END KEY-----"
OTHER = "other-" + secrets.token_hex(12)
OWN_PROCESS = True  # what /proc tells of it is looked at


@pytest.fixture
async def armed(idle: Any, place: Path) -> Any:
    """An executor that has three secrets: two in files, one in its environment."""
    directory = place / "secrets"
    directory.mkdir(mode=0o700)
    for name, value in (("token", TOKEN + "\n"), ("signing.key", KEY)):
        (directory / name).write_text(value)
        (directory / name).chmod(0o600)
    await idle.start(INTERLOCK_SECRETS_DIR=str(directory), INTERLOCK_SECRET_OTHER_ONE=OTHER)
    return idle


def uses(**places: str) -> list[step_pb2.SecretUse]:
    return [step_pb2.SecretUse(name=name, appears_as=place) for place, name in places.items()]


def stored(state: Path) -> Iterator[bytes]:
    """Everything the executor has stored: files as they are, and what databases hold, compressed or not."""
    for path, data in files_below(state):
        yield data
        if path.suffix != ".db":
            continue
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type='table'")]
            for table in tables:
                for row in db.execute(f"SELECT * FROM {table}"):
                    for value in row:
                        cell = value if isinstance(value, bytes) else str(value).encode()
                        yield cell
                        try:
                            yield zlib.decompress(cell)
                        except zlib.error:
                            continue


def assert_absent(data: bytes, *values: str) -> None:
    flat = data.translate(None, b"\r\n")
    for value in values:
        for form in forms(value.encode()):
            assert form not in flat, form


async def test_a_step_is_given_what_it_names_and_nothing_of_it_is_seen(armed: Any, act: Any) -> None:
    workspace = await armed.workspace()
    line = (
        'printf %s "$T" | sha256sum; sha256sum < /run/secrets/key; printf "%s" "$O"; echo; echo "$T" | base64 -w 7;'
        ' printf "x%s" "$T" | base64 >&2; printf %s "$T" | xxd -p 2>/dev/null; cat /run/secrets/key; echo done'
    )
    action = act.command(line, secrets=uses(T="token", O="other-one", **{"/run/secrets/key": "signing.key"}))
    prepared = await armed.prepare(workspace, action)
    assert not prepared.failure.reason, prepared.failure
    out = prepared.effect.stdout.head.decode()
    assert hashlib.sha256(TOKEN.encode()).hexdigest() in out
    assert hashlib.sha256(KEY.encode()).hexdigest() in out
    assert all(f"[secret:{name}]" in out for name in ("token", "other-one", "signing.key"))
    assert out.endswith("done\n")
    assert "[secret:token]" in prepared.effect.stderr.head.decode()
    assert prepared.effect.stdout.total_bytes == len(out.encode())
    assert prepared.effect.stdout.digest == "sha256:" + hashlib.sha256(out.encode()).hexdigest()
    assert_absent(prepared.SerializeToString(), TOKEN, KEY, OTHER)
    for data in stored(armed.state):
        assert_absent(data, TOKEN, KEY, OTHER)
    assert_absent(armed.child.log.encode(), TOKEN, KEY, OTHER)


async def test_the_digest_says_which_secret_appears_where_and_not_its_value(
    armed: Any, act: Any, place: Path
) -> None:
    workspace = await armed.workspace()

    async def digest(**places: str) -> str:
        action = act.command("true", secrets=uses(**places))
        request = pb.ProposeRequest(key=armed.key(), workspace_id=workspace, action=action)
        return str((await armed.call("Propose", request)).effect.request_digest)

    first = await digest(T="token")
    assert await digest(T="token") == first
    assert await digest(U="token") != first
    assert await digest(T="other-one") != first
    assert await digest() != first
    (place / "secrets" / "token").write_text("another value")
    assert await digest(T="token") == first


REFUSED: list[tuple[dict[str, str], Reason, str]] = [
    ({"T": "absent"}, Reason.SECRET_NOT_FOUND, "absent"),
    ({"T": "token", "U": "absent"}, Reason.SECRET_NOT_FOUND, "absent"),
    ({"T": "short"}, Reason.SECRET_UNUSABLE, "short"),
    ({"T": "open"}, Reason.SECRET_UNUSABLE, "open"),
    ({"T": "binary"}, Reason.SECRET_UNUSABLE, "binary"),
    ({"T": "nul"}, Reason.SECRET_UNUSABLE, "nul"),
    ({"T": "huge"}, Reason.SECRET_UNUSABLE, "huge"),
    ({"T": "folder"}, Reason.SECRET_UNUSABLE, "folder"),
    ({"T": "blank"}, Reason.SECRET_UNUSABLE, "blank"),
    ({"T": "myself-only"}, Reason.SECRET_UNUSABLE, "myself-only"),
    ({"T": "twice"}, Reason.SECRET_UNUSABLE, "twice"),
    ({"PATH": "token"}, Reason.INVALID_ARGUMENT, "PATH"),
    ({"E": "token"}, Reason.INVALID_ARGUMENT, "E"),
]


async def test_what_cannot_be_given_is_refused_before_anything_runs(idle: Any, act: Any, place: Path) -> None:
    directory = place / "secrets"
    directory.mkdir()
    contents = {
        "token": TOKEN.encode(),
        "short": b"1234567\n",
        "open": b"long enough",
        "binary": b"\xff" * 20,
        "nul": b"with\0nul inside",
        "huge": b"x" * 20_000,
        "blank": b" " * 20,
        "myself-only": b"myself-only",
        "twice": b"in a file too",
    }
    for name, value in contents.items():
        (directory / name).write_bytes(value)
        (directory / name).chmod(0o644 if name == "open" else 0o600)
    (directory / "folder").mkdir()
    await idle.start(INTERLOCK_SECRETS_DIR=str(directory), INTERLOCK_SECRET_TWICE="in a variable")
    workspace = await idle.workspace()
    for given, reason, named in REFUSED:
        action = act.command("touch ran", env={"E": "1"}, secrets=uses(**given))
        for method, request in (
            ("Propose", pb.ProposeRequest(key=idle.key(), workspace_id=workspace, action=action)),
            ("Prepare", pb.PrepareRequest(key=idle.key(), workspace_id=workspace, action=action)),
        ):
            with pytest.raises(InterlockError) as caught:
                await idle.call(method, request)
            assert caught.value.reason is reason
            assert repr(named) in caught.value.message
            assert caught.value.field == "secrets"
            assert TOKEN not in str(caught.value)
        with pytest.raises(InterlockError) as unknown:
            await idle.call("GetEffect", pb.GetEffectRequest(key=idle.key()))
        assert unknown.value.reason is Reason.EFFECT_NOT_FOUND


async def test_a_value_in_the_request_is_refused_without_saying_it(armed: Any, act: Any) -> None:
    workspace = await armed.workspace()
    for action in (
        act.command(f"echo {OTHER}", secrets=uses(T="other-one")),
        act.command(
            "true", env={"E": base64.b64encode(OTHER.encode()).decode()}, secrets=uses(T="other-one")
        ),
    ):
        with pytest.raises(InterlockError) as caught:
            await armed.prepare(workspace, action)
        assert caught.value.reason is Reason.SECRET_UNUSABLE
        assert "'other-one'" in caught.value.message
        assert_absent(str(caught.value).encode(), OTHER)


LEFT: dict[str, str] = {
    "a file": 'mkdir -p sub; printf "key=%s\n" "$T" > sub/conf',
    "base64 in a file": 'printf "ab%s" "$T" | base64 -w 5 > sub',
    "a big file": 'head -c 3000000 /dev/zero > sub; printf %s "$T" >> sub; head -c 3000000 /dev/zero >> sub',
    "across the chunks of a big file": 'head -c 1048570 /dev/zero > sub; printf %s "$T" >> sub; echo >> sub',
    "a name": 'touch "$T"',
    "a path": 'mkdir -p "$P"',
    "a path to a file": 'mkdir -p "${P%/*}"; touch "$P"',
    "a link's target": 'ln -s "/x/$T" sub',
    "a changed file": 'printf %s "$T" >> a.txt',
    "a file no one may read": 'printf %s "$T" > sub; chmod 0 sub',
}


@pytest.mark.parametrize("fork", ["overlay", "copy"])
async def test_a_secret_left_in_the_workspace_is_refused_and_nothing_is_stored(
    idle: Any, act: Any, fork: str
) -> None:
    value = secrets.token_hex(12)
    halves = value[:12] + "/" + value[12:]
    await idle.start(INTERLOCK_SECRET_DEPLOY=value, INTERLOCK_SECRET_PARTED=halves, INTERLOCK_FORK=fork)
    workspace = await idle.workspace()
    before = await idle.head(workspace)
    for number, (what, line) in enumerate(LEFT.items(), 1):
        action = act.command(line, secrets=uses(T="deploy", P="parted"))
        prepared = await idle.prepare(workspace, action, number)
        assert prepared.failure.reason == "EFFECT_NOT_PUBLISHABLE", (what, prepared)
        assert prepared.failure.metadata["secrets"] in ("deploy", "parted"), what
        assert prepared.failure.metadata["path"] in prepared.failure.message
        assert prepared.effect.result_tree == prepared.effect.base_tree == before
        assert_absent(prepared.SerializeToString(), value, halves)
    for data in stored(idle.state):
        assert_absent(data, value, halves)
    assert await idle.head(workspace) == before
    assert not [data for _, data in files_below(idle.live) if value.encode() in data]


async def test_what_the_workspace_held_before_is_no_reason_to_refuse_and_is_redacted(
    armed: Any, act: Any
) -> None:
    workspace = await armed.workspace(**{"settings.txt": f"secret={OTHER}\n", "gone.txt": f"x {OTHER}\n"})
    action = act.command(
        "cat settings.txt; rm gone.txt; mv settings.txt moved.txt", secrets=uses(T="other-one")
    )
    prepared = await armed.prepare(workspace, action)
    assert not prepared.failure.reason, prepared.failure
    assert prepared.effect.stdout.head == b"secret=[secret:other-one]\n"
    assert "-x [secret:other-one]" in prepared.effect.diff
    assert_absent(prepared.SerializeToString(), OTHER)
    await armed.apply(prepared)
    assert (armed.live / "moved.txt").read_text() == f"secret={OTHER}\n"


async def test_a_failing_command_says_nothing_either(armed: Any, act: Any) -> None:
    workspace = await armed.workspace()
    lines: list[tuple[str, Callable[[Any], bool]]] = [
        ('echo "$T" >&2; exit 3', lambda p: p.failure.reason == "COMMAND_FAILED"),
        ('exec "/$T"', lambda p: bool(p.failure.reason)),
        ('mkfifo "$T"', lambda p: p.failure.reason == "EFFECT_NOT_PUBLISHABLE"),
        ('printf %s "$T"; kill -9 $$', lambda p: p.failure.reason == "COMMAND_FAILED"),
    ]
    for number, (line, holds) in enumerate(lines, 1):
        action = act.command(line, secrets=uses(T="other-one"))
        prepared = await armed.prepare(workspace, action, step=number)
        assert holds(prepared), prepared
        assert_absent(prepared.SerializeToString(), OTHER)


async def test_only_that_step_has_it(armed: Any, act: Any) -> None:
    workspace = await armed.workspace()
    look = (
        "env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n';"
        " ls -a /run /run/secrets 2>/dev/null; ulimit -c"
    )
    named = act.command('sleep 3 & wait; echo "$T"', secrets=uses(T="other-one"))
    holding = asyncio.create_task(armed.prepare(workspace, named, step=1))
    prepared = await armed.prepare(workspace, act.command(look), step=2)
    assert OTHER.encode() not in prepared.effect.stdout.head
    assert b"T=" not in prepared.effect.stdout.head.replace(b"PATH=", b"")
    assert (await holding).effect.stdout.head == b"[secret:other-one]\n"
    seen = await armed.prepare(
        workspace,
        act.command("cat /proc/1/environ /proc/1/cmdline | tr '\\0' '\\n'", secrets=uses(T="other-one")),
        3,
    )
    assert b"secret" not in seen.effect.stdout.head


async def test_the_executors_own_memory_and_children_are_closed(armed: Any) -> None:
    """Its environment is readable to root only, as its memory is; no core is dumped."""
    process = Path(f"/proc/{armed.child.process.pid}")
    assert (process / "environ").stat().st_uid == 0
    limits = (process / "limits").read_text()
    assert "Max core file size        0                    0" in limits


async def test_files_are_read_only_and_the_steps_own(armed: Any, act: Any) -> None:
    workspace = await armed.workspace()
    line = "stat -c '%a %u %n' /run/secrets /run/secrets/*; echo x > /run/secrets/new; echo x > /run/secrets/key; true"
    prepared = await armed.prepare(
        workspace, act.command(line, secrets=uses(**{"/run/secrets/key": "signing.key"}))
    )
    assert prepared.effect.stdout.head == b"700 1000 /run/secrets\n400 1000 /run/secrets/key\n"
    assert (
        prepared.effect.stderr.head.count(b"Read-only file system")
        + prepared.effect.stderr.head.count(b"Permission denied")
        == 2
    ), prepared.effect.stderr.head


async def test_live_output_is_redacted_before_anyone_sees_it(armed: Any, act: Any) -> None:
    workspace = await armed.workspace()
    half = len(OTHER) // 2
    line = (
        f'echo begin; printf %s "${{T:0:{half}}}"; until [ -e /tmp/go ]; do sleep 0.2; touch /tmp/go; done;'
    )
    line += f' printf "%s\\n" "${{T:{half}}}"; echo end'
    work = asyncio.create_task(armed.prepare(workspace, act.command(line, secrets=uses(T="other-one"))))
    request, pieces = pb.StreamOutputRequest(key=armed.key()), b""
    while not pieces.endswith(b"end\n"):
        try:
            with rpc_errors("executor"):
                async for message in armed.stub.StreamOutput(request):
                    if message.HasField("chunk"):
                        assert message.chunk.offset == len(pieces)
                        pieces += message.chunk.data
                        request.stdout_offset = len(pieces)
        except InterlockError as error:
            if error.reason is not Reason.EFFECT_NOT_FOUND:
                raise
            await asyncio.sleep(0.01)  # it has not begun
    assert pieces == b"begin\n[secret:other-one]\nend\n"
    assert (await work).effect.stdout.head == pieces


async def test_where_steps_have_no_file_system_of_their_own_secrets_are_variables_only(
    armed: Any, act: Any
) -> None:
    try:
        await armed.restart(INTERLOCK_SANDBOX="landlock", INTERLOCK_SECRET_OTHER_ONE=OTHER)
    except AssertionError:
        assert "SANDBOX_UNAVAILABLE" in armed.child.log
        pytest.skip("the kernel's Landlock is absent or too old")
    workspace = await armed.workspace()
    prepared = await armed.prepare(workspace, act.command('echo "$T"', secrets=uses(T="other-one")))
    assert prepared.effect.stdout.head == b"[secret:other-one]\n"
    with pytest.raises(InterlockError) as caught:
        await armed.prepare(workspace, act.command("x", secrets=uses(**{"/run/secrets/x": "other-one"})), 2)
    assert caught.value.reason is Reason.SECRET_UNUSABLE
    assert "landlock" in caught.value.message


@pytest.mark.parametrize("runtime", ["runc", "crun"])
async def test_containers_are_given_secrets_without_a_file(armed: Any, act: Any, runtime: str) -> None:
    if shutil.which(runtime) is None or os.geteuid() != 0:
        pytest.skip(f"{runtime} is not installed, or this is not root")
    try:
        await armed.restart(
            INTERLOCK_SANDBOX="oci", INTERLOCK_OCI_RUNTIME=runtime, INTERLOCK_SECRET_OTHER_ONE=OTHER
        )
    except AssertionError:
        assert "SANDBOX_UNAVAILABLE" in armed.child.log
        pytest.skip(f"{runtime} cannot make containers here")
    workspace = await armed.workspace()
    for action in (
        act.command('ls /proc/self/fd; echo "$T"', secrets=uses(T="other-one")),
        act.command('echo "$T"', secrets=uses(T="other-one"), working_dir="absent"),
    ):
        prepared = await armed.prepare(workspace, action, attempt=1 + bool(action.run_command.working_dir))
        assert_absent(prepared.SerializeToString(), OTHER)
        if not action.run_command.working_dir:
            assert prepared.effect.stdout.head == b"0\n1\n2\n3\n[secret:other-one]\n", prepared
    waiting = act.command(
        'echo "$T"; sleep 60', secrets=uses(T="other-one", **{"/run/secrets/x": "other-one"})
    )
    work = asyncio.create_task(armed.prepare(workspace, waiting, 3))
    request, seen = pb.StreamOutputRequest(key=armed.key(3)), b""
    while not seen:
        try:
            with rpc_errors("executor"):
                async for message in armed.stub.StreamOutput(request):
                    seen += message.chunk.data
                    if seen:
                        break
        except InterlockError as error:
            if error.reason is not Reason.EFFECT_NOT_FOUND:
                raise
            await asyncio.sleep(0.01)  # it has not begun
    assert seen.startswith(b"[secret:other-one]")  # its line break may come with what follows
    for data in stored(armed.state):  # while it runs: the runtime's own files too
        assert_absent(data, OTHER)
    await armed.discard(3)
    with pytest.raises(InterlockError) as ended:
        await work
    assert ended.value.reason is Reason.EFFECT_DISCARDED
    line = (
        "stat -c '%a %u %n' /run/secrets /run/secrets/*; cat /run/secrets/x | wc -c;"
        " chmod 600 /run/secrets/x; echo x > /run/secrets/new; rm -f /run/secrets/x; cat /run/secrets/x; id -u"
    )
    files = uses(**{"/run/secrets/x": "other-one", "/run/secrets/key": "other-one"})
    given = await armed.prepare(workspace, act.command(line, secrets=files), 4)
    assert given.effect.stdout.head.decode().splitlines() == [
        "700 1000 /run/secrets", "400 1000 /run/secrets/key", "400 1000 /run/secrets/x",
        str(len(OTHER)), "[secret:other-one]1000",
    ], given  # fmt: skip
    assert given.effect.stderr.head.count(b"Read-only file system") == 3
    after = await armed.prepare(workspace, act.command("test ! -e /run"), 5)
    assert not after.failure.reason, after

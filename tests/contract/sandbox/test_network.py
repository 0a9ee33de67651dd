"""A step that may reach one host reaches that one through its proxy, and nothing else in any other way.

The only traffic is on this machine's loopback; no packet is aimed at a real address.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
from tests.support.arena import Arena
from tests.support.networked import REPLY, Networked, Server, agents

from interlock.common.errors import InterlockError, Reason
from interlock.executor.sandbox.network.rules import Bounds


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
async def net(arena: Arena, server: Server) -> AsyncIterator[Networked]:
    if not arena.sandbox.capabilities.network:
        pytest.skip("it gives no network, and says so")
    yield Networked(arena, server.port)
    assert agents() == [], "no proxy outlives its step"


async def test_programs_find_the_proxy_and_the_listed_host(net: Networked, server: Server) -> None:
    url = f"http://good.test:{net.port}/"
    code = f"import urllib.request; print(urllib.request.urlopen('{url}').read())"
    result = await net.run(f'curl -sS {url}; curl -sSp {url}; python3 -c "{code}"')
    assert result.stdout.head == b"hello\nhello\nb'hello\\n'\n", result.stderr.head
    assert result.network is not None
    assert (result.network.total, result.network.refused, result.network.problem) == (3, 0, "")
    assert {(each.host, each.port, each.allowed) for each in result.network.attempts} == {
        ("good.test", net.port, True)
    }
    assert result.network.sent > 0
    assert result.network.received == 3 * len(REPLY)
    assert server.connections == 3


async def test_a_step_that_uses_no_network_has_an_empty_record(net: Networked) -> None:
    result = await net.run("true")
    assert result.network is not None
    assert (result.network.attempts, result.network.total, result.network.problem) == ([], 0, "")


async def test_other_hosts_are_refused_and_recorded(net: Networked, server: Server) -> None:
    names = ("bad.test", f"127.0.0.1:{net.port}", f"localhost:{net.port}", f"in.test:{net.port}")
    result = await net.run(
        f"for h in {' '.join(names)}; do curl -s -o /dev/null -w '%{{http_code}} ' --noproxy '' http://$h/; done; "
        "curl -s -p http://bad.test/ -w '%{http_connect}'"
    )
    assert result.stdout.head == b"403 403 403 403 403"
    assert result.network is not None
    hosts = ["bad.test", "127.0.0.1", "localhost", "in.test", "bad.test"]
    assert [each.host for each in result.network.attempts] == hosts
    assert {each.reason for each in result.network.attempts} == {"not_listed"}
    assert server.connections == 0


DIRECT = """
import errno, socket, sys
def attempt(family, kind, address, protocol=0):
    try:
        with socket.socket(family, kind, protocol) as s:
            s.settimeout(3)
            s.connect(address)
            s.send(b"x")
            return "connected"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
"""


async def test_the_machine_itself_is_out_of_reach_without_the_proxy(net: Networked, server: Server) -> None:
    code = (
        DIRECT
        + f"""
print(attempt(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", {net.port})))
print(attempt(socket.AF_INET6, socket.SOCK_STREAM, ("::1", {net.port})))
print(attempt(socket.AF_INET, socket.SOCK_STREAM, ("192.0.2.1", 80)))
print(attempt(socket.AF_INET, socket.SOCK_DGRAM, ("192.0.2.1", 53)))
print(attempt(socket.AF_INET6, socket.SOCK_DGRAM, ("2001:db8::1", 53)))
print(attempt(socket.AF_INET, socket.SOCK_RAW, ("127.0.0.1", 0), 1))
print(attempt(40, socket.SOCK_STREAM, (2, 80)))
print(attempt(17, socket.SOCK_RAW, ("lo", 0)))
try: socket.getaddrinfo("good.test", 80)
except OSError as error: print(type(error).__name__)
"""
    )
    result = await net.python(code)
    said = result.stdout.head.decode().split()
    assert said[0] == "ECONNREFUSED", (said, result.stderr.head)
    assert said[1] in ("ECONNREFUSED", "EADDRNOTAVAIL", "ENETUNREACH")
    assert said[2:5] == ["ENETUNREACH"] * 3
    assert said[5] in ("EPERM", "EACCES")
    assert said[6:8] == ["EAFNOSUPPORT"] * 2
    assert said[8] == "gaierror"
    assert server.connections == 0


async def test_only_the_proxys_port_is_there_and_only_a_loopback_interface(net: Networked) -> None:
    result = await net.run(
        "tail -n +3 /proc/net/dev | cut -d: -f1; tail -n +2 /proc/net/route; tail -n +2 /proc/net/tcp"
    )
    interface, *sockets = result.stdout.head.decode().strip().split("\n")
    assert interface.strip() == "lo"
    assert len(sockets) == 1
    assert sockets[0].split()[1] == f"0100007F:{3128:04X}"


async def test_abstract_sockets_of_the_machine_stay_out_of_reach(net: Networked) -> None:
    name = f"\0interlock-network-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen()
        result = await net.python(DIRECT + f"print(attempt(socket.AF_UNIX, socket.SOCK_STREAM, {name!r}))")
    assert result.stdout.head == b"ECONNREFUSED\n"


async def test_the_proxys_process_cannot_be_seen(net: Networked) -> None:
    result = await net.run("cat /proc/*/cmdline | tr '\\0' ' '; ls /proc | grep -c '^[0-9]'")
    assert b"agent" not in result.stdout.head
    assert b"sandbox.network" not in result.stdout.head


async def test_a_flood_of_connections_is_held_back(net: Networked, server: Server) -> None:
    net.bounds = Bounds(connections=4, attempts=100, head_ms=300)
    code = """
import os, socket
for _ in range(8):
    if os.fork() == 0:
        for _ in range(200):
            try:
                s = socket.create_connection(("127.0.0.1", 3128), 1)
                s.sendall(b"CONNECT bad.test:443 HTTP/1.1\\r\\n\\r\\n")
                s.recv(100)
                s.close()
            except OSError:
                pass
        os._exit(0)
while True:
    try: os.wait()
    except ChildProcessError: break
print("over")
"""
    result = await net.python(code)
    assert result.stdout.head == b"over\n"
    assert result.network is not None
    assert (result.network.total, result.network.refused) == (100, 100)
    assert server.connections == 0


async def test_connections_that_say_nothing_end_with_the_step(net: Networked) -> None:
    code = "import socket; kept = [socket.create_connection(('127.0.0.1', 3128)) for _ in range(60)]; print('over')"
    result = await net.python(code)
    assert result.stdout.head == b"over\n"
    assert result.network is not None
    assert result.network.problem == ""


async def test_a_step_that_is_killed_leaves_no_proxy_and_has_its_record(net: Networked) -> None:
    code = f"""
import socket, time
s = socket.create_connection(("127.0.0.1", 3128))
s.sendall(b"CONNECT good.test:{net.port} HTTP/1.1\\r\\n\\r\\n")
s.recv(100)
time.sleep(1000)
"""
    result = await net.python(code, limits={"wall_us": 2_000_000})
    assert result.ending.value == "timed_out"
    assert result.network is not None
    assert [(each.host, each.allowed) for each in result.network.attempts] == [("good.test", True)]


LEAVES_A_TUNNEL = """
import os, socket, time
done, told = os.pipe()
if os.fork() == 0:
    os.setsid()
    s = socket.create_connection(("127.0.0.1", 3128))
    s.sendall(b"CONNECT good.test:PORT HTTP/1.1\\r\\n\\r\\n")
    s.recv(100)
    s.sendall(b"here")
    os.write(told, b"x")
    while True: time.sleep(1000)
os.read(done, 1)
"""


async def test_no_tunnel_is_open_after_a_step_whatever_it_left_behind(net: Networked) -> None:
    with socket.create_server(("127.0.0.1", 0)) as host:
        other = Networked(net.arena, host.getsockname()[1])
        result = await other.python(LEAVES_A_TUNNEL.replace("PORT", str(other.port)))
        connected, _ = host.accept()
        with connected:
            connected.setblocking(False)
            assert connected.recv(4) == b"here"
            with contextlib.suppress(ConnectionResetError):
                assert connected.recv(1) == b"", "it was cut before the result was told"
    assert result.exit_code == 0
    assert result.network is not None
    assert [(each.host, each.allowed, each.sent) for each in result.network.attempts] == [
        ("good.test", True, 4)
    ]


async def test_a_proxy_that_dies_takes_the_network_with_it_and_is_told(
    net: Networked, server: Server
) -> None:
    url = f"http://good.test:{net.port}/"
    running = asyncio.create_task(net.run(f"while curl -sS --max-time 5 {url}; do sleep .05; done; echo cut"))
    while not server.connections:  # noqa: ASYNC110 (a thread counts them)
        await asyncio.sleep(0.01)
    (agent,) = agents()
    agent.kill()
    result = await running
    assert result.stdout.head.endswith(b"cut\n")
    assert result.network is not None
    assert result.network.problem == "the proxy ended before the step"


async def test_steps_at_once_have_a_proxy_each(net: Networked) -> None:
    results = await asyncio.gather(*(net.run(f"curl -sS http://good.test:{net.port}/") for _ in range(3)))
    assert [result.stdout.head for result in results] == [b"hello\n"] * 3
    assert [result.network.total for result in results if result.network] == [1, 1, 1]
    assert agents() == []


async def test_a_step_has_no_descriptor_of_its_proxy(net: Networked) -> None:
    result = await net.run("ls -l /proc/self/fd | grep -v ' [0-3] ->' | grep -- '->' ; true")
    assert result.stdout.head == b""


async def test_a_steps_proxy_is_not_another_steps(net: Networked, server: Server) -> None:
    """Each has the same address, of its own loopback: what the one may reach, the other asks for in vain."""
    other = Networked(net.arena, net.port, listed="elsewhere.test")
    line = f"curl -s -o /dev/null -w '%{{http_code}}' http://good.test:{net.port}/"
    first, second = await asyncio.gather(net.run(line), other.run(line))
    assert (first.stdout.head, second.stdout.head) == (b"200", b"403")
    assert server.connections == 1


async def test_a_redirect_leads_only_where_the_step_may_go(net: Networked, server: Server) -> None:
    server.reply = (
        b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest/\r\nContent-Length: 0\r\n"
        b"Connection: close\r\n\r\n"
    )
    result = await net.run(f"curl -s -L -o /dev/null -w '%{{http_code}}' http://good.test:{net.port}/")
    assert result.stdout.head == b"403"
    assert result.network is not None
    assert [(each.host, each.reason) for each in result.network.attempts] == [
        ("good.test", ""),
        ("169.254.169.254", "not_listed"),
    ]


async def test_the_executors_own_proxy_is_not_used(
    net: Networked, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by the step's proxy nor by the step."""
    trap = Server()
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{trap.port}")
    result = await net.run(f"curl -sS http://good.test:{net.port}/; env | grep -i _proxy= | grep -c :3128")
    trap.close()
    assert result.stdout.head == b"hello\n6\n"
    assert (server.connections, trap.connections) == (1, 0)


async def test_what_a_step_calls_hosts_cannot_deceive_who_reads_the_record(net: Networked) -> None:
    code = """
import socket
for sent in (b"CONNECT \\x1b[2J\\nfake: line\\x00\\xff HTTP/1.1\\r\\n\\r\\n",
             b"GET http://a\\x1b]0;x\\x07.test/ HTTP/1.1\\r\\n\\r\\n"):
    with socket.create_connection(("127.0.0.1", 3128)) as s:
        s.sendall(sent)
        print(s.recv(1000).splitlines()[0])
"""
    result = await net.python(code)
    assert result.stdout.head.count(b"400 Bad Request") == 2, result.stderr.head
    assert result.network is not None
    assert [each.reason for each in result.network.attempts] == ["bad_request"] * 2
    for attempt in result.network.attempts:
        assert (attempt.host + attempt.detail).isprintable()
        assert (attempt.host + attempt.detail).isascii()
    assert "\\n" in result.network.attempts[0].host


async def test_a_command_that_is_not_there_has_not_acted(net: Networked) -> None:
    with pytest.raises(InterlockError) as caught:
        await net.run(argv=("/no/such/program",))
    assert caught.value.reason is Reason.COMMAND_NOT_FOUND


async def test_the_proxy_has_no_rights(net: Networked, server: Server) -> None:
    """While it serves: the step's uid, no capability, no new privileges, no inherited environment."""
    url = f"http://good.test:{net.port}/"
    running = asyncio.create_task(
        net.run(f"while curl -sS {url}; do sleep .05; done", limits={"wall_us": 9_000_000})
    )
    while not server.connections:  # noqa: ASYNC110 (a thread counts them)
        await asyncio.sleep(0.01)
    (agent,) = agents()
    facts = dict(line.split(":\t", 1) for line in _read(agent.pid, "status").splitlines() if ":\t" in line)
    try:
        environment = _read(agent.pid, "environ")
    except PermissionError:  # it is not dumpable: nobody but root may look, not even its own user
        environment = ""
    bounds = {tuple(line.split()[:3]): line.split()[3:5] for line in _read(agent.pid, "limits").splitlines()}
    agent.kill()
    await running
    identity = net.arena.sandbox.identity
    assert set(facts["Uid"].split()) == {str(identity.uid)}
    assert set(facts["Gid"].split()) == {str(identity.gid)}
    assert int(facts["CapEff"], 16) == int(facts["CapPrm"], 16) == 0
    assert facts["NoNewPrivs"] == "1"
    assert environment == ""
    assert bounds["Max", "cpu", "time"] == ["1200", "1200"]
    assert bounds["Max", "open", "files"] == ["1024", "1024"]


def _read(pid: int, name: str) -> str:
    with open(f"/proc/{pid}/{name}") as file:
        return file.read()

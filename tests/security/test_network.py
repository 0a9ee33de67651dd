"""A step has no network: a loopback interface of its own, and nothing else. No packet is aimed at a real address."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from tests.support.service_arena import ServiceArena as Arena


async def test_there_is_only_a_loopback_interface_and_no_route(arena: Arena) -> None:
    result = await arena.run(
        "tail -n +3 /proc/net/dev | cut -d: -f1; tail -n +2 /proc/net/route; cat /proc/net/if_inet6"
    )
    lines = result.stdout.head.decode().split()
    assert lines[0] == "lo"
    assert all(word == "lo" or set(word) <= set("0123456789abcdef") for word in lines)
    assert "eth0" not in lines


async def test_loopback_inside_is_usable(arena: Arena) -> None:
    code = """
import socket
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
server.accept()[0].sendall(b"hello"); print(client.recv(5))
"""
    assert (await arena.python(code)).stdout.head == b"b'hello'\n"


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
async def test_the_hosts_loopback_cannot_be_reached(arena: Arena, family: socket.AddressFamily) -> None:
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    try:
        listener = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip("this machine has no such loopback address")
    with listener:
        listener.setblocking(False)
        port = listener.getsockname()[1]
        code = f"import socket\ntry: socket.create_connection(({host!r}, {port}), 3)\nexcept OSError as e: print(e.errno)"  # noqa: E501 a payload
        result = await arena.python(code)
        assert result.stdout.head == b"111\n"
        with pytest.raises(BlockingIOError):
            listener.accept()


async def test_the_hosts_abstract_sockets_cannot_be_reached(arena: Arena, open_dir: Any) -> None:
    name = "\0interlock-test-" + open_dir.name
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen()
        code = f"import socket\ntry: socket.socket(socket.AF_UNIX).connect({name!r})\nexcept OSError as e: print(e.errno)"  # noqa: E501 a payload
        assert (await arena.python(code)).stdout.head == b"111\n"


async def test_no_interface_can_be_added(arena: Arena) -> None:
    result = await arena.run(
        "ip link add dummy0 type dummy; ip link set lo down; tail -n +3 /proc/net/dev | wc -l"
    )
    assert result.stdout.head.split()[-1] == b"1"


async def test_names_do_not_resolve(arena: Arena) -> None:
    code = "import socket\ntry: socket.getaddrinfo('host.invalid', 80)\nexcept OSError as e: print(type(e).__name__)"
    assert (await arena.python(code)).stdout.head == b"gaierror\n"

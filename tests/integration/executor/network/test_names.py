"""Names through the machine's resolver and a real name server, which a process with a resolv.conf of its own asks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.arena import open_directory

PROGRAM = r'''
import asyncio, json, os, socket, struct, sys, threading, time
from interlock.executor.sandbox.network.names import SystemResolver, forget_search_domains
from interlock.executor.sandbox.network.proxy import Proxy
from interlock.executor.sandbox.network.rules import Bounds, Rules

class NameServer(threading.Thread):
    """Each name's answers in turn, the last one for ever; None is never answered."""
    def __init__(self, answers):
        super().__init__(daemon=True)
        self.answers, self.asked = answers, []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((sys.argv[1], 53))
    def run(self):
        while True:
            query, who = self.socket.recvfrom(4096)
            at, labels = 12, []
            while query[at]:
                labels.append(query[at + 1:at + 1 + query[at]].decode())
                at += 1 + query[at]
            kind, = struct.unpack(">H", query[at + 1:at + 3])
            name = ".".join(labels)
            left = self.answers.get(name, [[]])
            found = left[0]
            if kind == 1:
                self.asked.append(name)
                if len(left) > 1:
                    left.pop(0)
            if found is None:
                continue
            found = [each for each in found if (":" in each) == (kind == 28)] if kind in (1, 28) else []
            family = socket.AF_INET6 if kind == 28 else socket.AF_INET
            records = b"".join(
                b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, 16 if kind == 28 else 4)
                + socket.inet_pton(family, each) for each in found
            )
            code = 0x8180 if name in self.answers else 0x8183
            head = query[:2] + struct.pack(">HHHHH", code, 1, len(found), 0, 0)
            self.socket.sendto(head + query[12:at + 5] + records, who)

async def main(told):
    names = NameServer(told["answers"]); names.start()
    seen = []
    async def serve(reader, writer):
        writer.write(b"in"); writer.close()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    forget_search_domains()
    listed = tuple(f"{host}:{port}" for host in told["listed"])
    rules = Rules(listed, tuple(told["ranges"]), (), Bounds(connect_ms=told.get("connect_ms", 15000)))
    listener = socket.create_server(("127.0.0.1", 0))
    at = listener.getsockname()[1]
    proxy = Proxy(rules, SystemResolver({}), lambda attempt: seen.append(attempt))
    serving = asyncio.create_task(proxy.serve(listener))
    said = []
    for host in told["asks"]:
        reader, writer = await asyncio.open_connection("127.0.0.1", at)
        writer.write(f"CONNECT {host}:{port} HTTP/1.1\r\n\r\n".encode()); writer.write_eof()
        said.append((await reader.read()).decode())
        writer.close()
    while len(seen) < len(said):
        await asyncio.sleep(0.01)
    print(json.dumps({"asked": names.asked, "said": [each.split()[1] for each in said],
                      "in": [each.endswith("in") for each in said],
                      "attempts": [[each.reason, each.address] for each in seen]}), flush=True)
    os._exit(0)

asyncio.run(main(json.loads(sys.argv[2])))
'''


@pytest.fixture
def asked(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Runs a proxy in a mount namespace whose resolv.conf names a server of the test's own."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("root is needed to give a process a resolv.conf and port 53")
    number = os.getpid()
    address = f"127.77.{number >> 8 & 255}.{number & 255 or 1}"
    conf = tmp_path / "resolv.conf"
    conf.write_text(f"search corp.test\nnameserver {address}\noptions timeout:30\n")

    def program(source: str, *words: str) -> str:
        line = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", line, conf, sys.executable, "-c", source, address, *words],
            capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(**told: Any) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(program(PROGRAM, json.dumps(told)))
        return found

    run.program = program  # type: ignore[attr-defined]
    return run


@pytest.fixture
def open_place() -> Iterator[Path]:
    with open_directory("interlock-names-") as path:
        yield path


def test_a_name_that_is_rebound_leads_where_it_was_judged_to_lead(asked: Any) -> None:
    """The server answers a public address first and an inner one ever after; and the other way round."""
    found = asked(
        answers={
            "first-good.test": [["127.0.0.1"], ["169.254.169.254"]],
            "first-bad.test": [["169.254.169.254"], ["127.0.0.1"]],
        },
        listed=["first-good.test", "first-bad.test"],
        ranges=["127.0.0.0/8"],
        asks=["first-good.test", "first-good.test", "first-bad.test", "first-bad.test"],
    )
    assert found["said"] == ["200", "403", "403", "200"]
    assert found["in"] == [True, False, False, True]
    assert found["asked"] == ["first-good.test"] * 2 + ["first-bad.test"] * 2, "once for each connection"
    assert found["attempts"][1] == ["address_refused", "169.254.169.254"]


INWARD = (
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "100.100.100.200", "169.254.169.254",
    "0.0.0.0", "224.0.0.1", "255.255.255.255", "192.0.0.192", "198.18.0.1", "168.63.129.16", "192.0.2.1", "::",
    "::1", "::127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2001::1",
    "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "2001:db8::1", "3fff::1", "5f00::1", "100::1",
)  # fmt: skip


def test_a_name_that_leads_inward_is_refused(asked: Any) -> None:
    names = [f"in-{number}.test" for number in range(len(INWARD))]
    answers = {name: [[address]] for name, address in zip(names, INWARD, strict=True)}
    found = asked(answers=answers, listed=names, ranges=[], asks=names)
    assert found["said"] == ["403"] * len(names)
    assert {reason for reason, _ in found["attempts"]} == {"address_refused"}


def test_no_search_domain_is_tried(asked: Any) -> None:
    found = asked(
        answers={name: [["127.0.0.1"]] for name in ("host.corp.test", "a.b.corp.test")},
        listed=["host", "a.b"],
        ranges=["127.0.0.0/8"],
        asks=["host", "a.b"],
    )
    assert found["said"] == ["502", "502"]
    assert "host.corp.test" not in found["asked"]
    assert "a.b.corp.test" not in found["asked"]


def test_what_is_not_listed_is_not_looked_up(asked: Any) -> None:
    """A look-up is a message too."""
    found = asked(answers={}, listed=["good.test"], ranges=[], asks=["c2VjcmV0.evil.test", "x.good.test"])
    assert (found["said"], found["asked"]) == (["403", "403"], [])


def test_a_look_up_without_an_answer_is_given_up(asked: Any) -> None:
    found = asked(
        answers={"slow.test": [None]}, listed=["slow.test"], ranges=[], asks=["slow.test"], connect_ms=300
    )
    assert (found["said"], found["attempts"]) == (["502"], [["not_resolved", ""]])


STEP = r"""
import asyncio, socket, sys
from pathlib import Path
from interlock.executor.sandbox.base import SandboxSpec
from interlock.executor.sandbox.bubblewrap import BubblewrapSandbox
from interlock.executor.sandbox.confinement import Confinement
from interlock.executor.sandbox.network.config import ENVIRONMENT
from interlock.executor.sandbox.network.grant import Grant
from interlock.executor.sandbox.network.rules import Rules

async def main():
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind((sys.argv[1], 53))
    sandbox = BubblewrapSandbox(Confinement.from_env(Path(sys.argv[2]) / "sandbox"))
    line = "for n in 1 2 3; do curl -s --max-time 0.2 http://slow.test/; done; echo over"
    spec = SandboxSpec(command=line, env=dict(ENVIRONMENT), network=Grant(Rules(("slow.test:80",))))
    result = await sandbox.run(spec)
    print(result.stdout.head, result.network.total, result.network.problem or "whole")

asyncio.run(main())
"""


def test_look_ups_that_hang_do_not_keep_a_step_or_spoil_its_record(asked: Any, open_place: Path) -> None:
    assert asked.program(STEP, str(open_place)) == "b'over\\n' 3 whole\n"

"""Steps that may reach a server of the test's own, on this machine's loopback, through a proxy."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading
from typing import Any

import psutil
from tests.support.arena import Arena

from interlock.executor.sandbox.base import DEFAULT_LIMITS, SandboxResult, SandboxSpec
from interlock.executor.sandbox.network.config import ENVIRONMENT
from interlock.executor.sandbox.network.grant import Grant
from interlock.executor.sandbox.network.rules import Bounds, Rules

REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n"


class Server:
    """Answers every request on 127.0.0.1 and counts connections."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.connections, self.reply = 0, REPLY
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connected, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            with connected:
                connected.recv(65536)
                connected.sendall(self.reply)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


class Networked:
    """Steps that may reach `good.test`, which is the server."""

    def __init__(self, arena: Arena, port: int, listed: str = "good.test") -> None:
        self.arena, self.port, self.listed = arena, port, listed
        self.bounds = Bounds()

    async def run(self, command: str = "", **options: Any) -> SandboxResult:
        pinned = (("good.test", "127.0.0.1"), ("in.test", "127.0.0.1"))
        rules = Rules((f"{self.listed}:{self.port}",), ("127.0.0.0/8",), pinned, self.bounds)
        limits = dataclasses.replace(DEFAULT_LIMITS, **{"wall_us": 30_000_000, **options.pop("limits", {})})
        spec = SandboxSpec(
            command=command,
            env=dict(ENVIRONMENT),
            fork=self.arena.fork(),
            limits=limits,
            network=Grant(rules),
            **options,
        )
        result: SandboxResult = await self.arena.sandbox.run(spec)
        return result

    async def python(self, code: str, **options: Any) -> SandboxResult:
        return await self.run(argv=("/usr/bin/python3", "-I", "-c", code), **options)


def agents() -> list[psutil.Process]:
    """The proxies of this process that are alive."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            alive = child.status() != psutil.STATUS_ZOMBIE
            if alive and any("network.agent" in word for word in child.cmdline()):
                found.append(child)
    return found

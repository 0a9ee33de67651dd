"""The process of one step's proxy. Started by `link`; standard library only.

Control socket (SOCK_SEQPACKET), each message JSON: `{uid, gid, switch, root_made, rules}` comes, then a message with
the step's network namespace as a descriptor; `{ready}` or `{error}` goes, then one `{attempt}` each; when the other
side stops sending, `{ended}` goes and the process ends.
"""

from __future__ import annotations

import asyncio
import ctypes
import encodings.idna  # noqa: F401 (nothing can be imported after the switch of users)
import json
import os
import resource
import signal
import socket
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final

from interlock.executor.sandbox.network.inside import listen_inside
from interlock.executor.sandbox.network.names import SystemResolver, forget_search_domains
from interlock.executor.sandbox.network.proxy import Proxy
from interlock.executor.sandbox.network.rules import MAX_MESSAGE, PORT, Attempt, Rules

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38
_CAPABILITY_VERSION: Final = 0x20080522
_GRACE: Final = 2.0
_MEMORY: Final = 512 << 20
_LOOK_UPS: Final = 4
_LIMITS: Final = (
    (resource.RLIMIT_NOFILE, 1024),
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_FSIZE, 0),
    (resource.RLIMIT_DATA, _MEMORY),
    # What a step lets its proxy do is not counted as the step's: as much as steps have by default.
    (resource.RLIMIT_CPU, 1200),
)


def main() -> None:
    """`argv[1]` is the number of the control socket's descriptor."""
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    told = json.loads(control.recv(MAX_MESSAGE))
    rules = Rules.decode(json.dumps(told["rules"]).encode())
    # Only root may enter what root has made. Nothing of the step has been heard by then.
    if not told["root_made"]:
        _give_up_rights(told)
    if (listener := _listen(control)) is None:
        return
    if told["root_made"]:
        _give_up_rights(told)
    control.send(json.dumps({"ready": PORT}).encode())
    asyncio.run(_serve(control, rules, listener))


def _listen(control: socket.socket) -> socket.socket | None:
    """In the namespace that comes; None when none does, or it cannot be entered, which is told."""
    _, fds, _, _ = socket.recv_fds(control, 16, 1)
    if not fds:
        return None  # the step never came to its gate
    try:
        return listen_inside(fds[0], PORT)
    except OSError as error:
        control.send(json.dumps({"error": error.strerror or str(error)}).encode())
        return None
    finally:
        os.close(fds[0])


def _give_up_rights(told: dict[str, Any]) -> None:
    parent = os.getppid()
    if told["switch"]:
        os.setgroups([])
        os.setresgid(told["gid"], told["gid"], told["gid"])
        os.setresuid(told["uid"], told["uid"], told["uid"])
    if os.geteuid() == 0:
        os._exit(2)
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    # An executor of an ordinary user may have been given capabilities, which what it starts would have too.
    if libc.capset(struct.pack("=II", _CAPABILITY_VERSION, 0), bytes(24)) != 0:
        os._exit(2)
    if os.getppid() != parent:
        os._exit(2)
    for kind, most in _LIMITS:
        _, hard = resource.getrlimit(kind)
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (bound, bound))


async def _serve(control: socket.socket, rules: Rules, listener: socket.socket) -> None:
    control.setblocking(False)
    forget_search_domains()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_LOOK_UPS))
    messages: asyncio.Queue[bytes | None] = asyncio.Queue(rules.bounds.attempts + 1)

    def tell(attempt: Attempt) -> None:
        messages.put_nowait(attempt.encode())

    proxy = Proxy(rules, SystemResolver(dict(rules.addresses)), tell)
    serving = asyncio.create_task(proxy.serve(listener))
    telling = asyncio.create_task(_tell(control, messages))
    with suppress(OSError):
        while await asyncio.get_running_loop().sock_recv(control, 16):
            continue
    serving.cancel()
    await asyncio.wait((serving,))
    await proxy.finish(_GRACE)
    messages.put_nowait(None)
    await telling
    # Not left to asyncio.run, which would wait for a look-up that hangs in a thread.
    os._exit(0)


async def _tell(control: socket.socket, messages: asyncio.Queue[bytes | None]) -> None:
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        while (message := await messages.get()) is not None:
            await loop.sock_sendall(control, message)
        await loop.sock_sendall(control, b'{"ended": true}')

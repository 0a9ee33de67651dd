"""Commands and the supervisor where the services use TLS."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from interlock.cli.certs import directory as certs
from interlock.cli.supervisor.supervisor import Supervisor
from interlock.client import Client, Retry
from interlock.client.endpoints import LOCK_FILE, Endpoints, read_supervisor, write_running
from interlock.common.access import convert
from interlock.common.access.scope import Open
from interlock.common.clock import SystemClock
from interlock.common.errors import InterlockError, Reason
from interlock.common.identity import current_identity
from interlock.common.server import ServerSpec, running
from interlock.common.tls import CERT, TlsFiles
from interlock.v1 import access_pb2 as pb
from interlock.v1 import access_pb2_grpc
from interlock.v1.role_pb2 import Role

NOW = SystemClock().now()


class Access(access_pb2_grpc.AccessServicer):
    async def WhoAmI(self, request: pb.WhoAmIRequest, context: Any) -> pb.WhoAmIResponse:
        return pb.WhoAmIResponse(caller=convert.caller(current_identity()))


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """As by a supervisor that is alive."""
    with open(directory / LOCK_FILE, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


async def test_a_command_finds_its_certificate_in_the_data_directory(tmp_path: Path) -> None:
    place = tmp_path / "certs"
    certs.init(place, NOW, days=2)
    add = access_pb2_grpc.add_AccessServicer_to_server
    services = [(Access(), add, "interlock.v1.Access")]
    files = TlsFiles.within(place, "orchestrator")
    spec = ServerSpec("orchestrator", "127.0.0.1:0", services, "t", scope=Open(), tls=files)
    async with running(spec) as address:
        write_running(tmp_path, Endpoints(orchestrator=str(address)), os.getpid(), certs=str(place))
        with held(tmp_path):
            found = read_supervisor(tmp_path)
            assert found is not None
            assert found.certs == str(place)
            async with Client(directory=tmp_path, token="t") as client:
                caller = await client.who_am_i()
        assert (caller.subject, Role.ROLE_SERVICE in caller.roles) == ("local", False)
        none = Client(
            directory=tmp_path, token="t", orchestrator=str(address), retry=Retry(seconds=0.0, unseen=0.0)
        )
        async with none as stranger:  # nobody says that it has TLS
            with pytest.raises(InterlockError) as caught:
                await stranger.who_am_i()
        assert caught.value.reason is Reason.UNAVAILABLE


async def test_up_wants_a_certificate_for_each_service(tmp_path: Path) -> None:
    env = {"INTERLOCK_DATA_DIR": str(tmp_path), CERT: "/etc/one.crt"}
    env["INTERLOCK_DATABASE_URL"] = "postgresql://nobody@127.0.0.1:1/none"
    for encrypted in (False, True):
        supervisor = Supervisor(env, port_base=0, report=print, encrypted=encrypted)
        with pytest.raises(InterlockError) as caught:
            await supervisor.start()
        assert (caught.value.reason, caught.value.field) == (Reason.INVALID_ARGUMENT, CERT)
    assert not (tmp_path / "certs").exists()

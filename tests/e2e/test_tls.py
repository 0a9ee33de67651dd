"""A whole installation whose services use TLS."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.installation import INTERLOCK, Installation, installed

from interlock.common.client import channel, rpc_errors
from interlock.common.errors import InterlockError, Reason
from interlock.v1 import access_pb2, access_pb2_grpc

pytestmark = pytest.mark.torture

PLAN = """
goal: tls
steps:
  - edit_file: {path: a.txt, new_content: "b"}
  - run_command: {command: "cat a.txt"}
"""


@pytest.fixture(scope="module")
def up() -> Iterator[Installation]:
    with installed() as made:
        made.start("--tls")
        yield made


def command(up: Installation, *line: str) -> str:
    done = subprocess.run(
        [*INTERLOCK, *line], env=up.env, capture_output=True, text=True, timeout=100, check=True
    )
    return done.stdout


def test_a_run_from_its_plan_to_its_end(up: Installation, tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(PLAN)
    place = up.project(a__txt="a")
    arguments = ("-w", str(place), "--plan", str(plan), "--approve", "all", "-o", "json")
    assert json.loads(command(up, "run", "exec", *arguments))["state"] == "RUN_STATE_COMPLETED"
    assert (place / "a.txt").read_text() == "b"
    assert "ROLE_SERVICE" not in json.loads(command(up, "whoami", "-o", "json"))["roles"]


async def test_nobody_in_the_clear(up: Installation) -> None:
    token = (up.home / "data" / "token").read_text().strip()
    for service in ("orchestrator", "executor", "planner", "approval"):
        async with channel(up.endpoints[service], token) as opened:
            with pytest.raises(InterlockError) as caught, rpc_errors():
                await access_pb2_grpc.AccessStub(opened).WhoAmI(access_pb2.WhoAmIRequest(), timeout=20)
        assert caught.value.reason is Reason.UNAVAILABLE

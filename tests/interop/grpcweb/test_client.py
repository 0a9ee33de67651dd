"""A real gRPC-Web client (@connectrpc/connect-web on Node) against a real gateway."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from tests.support.installation import Installation, running

from interlock.gateway.api import catalog
from interlock.v1 import run_pb2

pytestmark = [pytest.mark.interop, pytest.mark.timeout(400)]
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def up() -> Iterator[Installation]:
    with running() as installation:
        yield installation


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client with its packages, as the lock file has them."""
    place = tmp_path_factory.mktemp("client")
    for name in ("package.json", "package-lock.json", "client.mjs"):
        shutil.copy(HERE / name, place)
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=place, check=True)
    return place / "client.mjs"


def descriptors() -> bytes:
    """Every file of the API and what it imports, imports first."""
    pool, files = descriptor_pool.Default(), descriptor_pb2.FileDescriptorSet()
    seen: set[str] = set()

    def add(name: str) -> None:
        if name in seen:
            return
        seen.add(name)
        file = pool.FindFileByName(name)
        for needed in file.dependencies:
            add(needed.name)
        file.CopyToProto(files.file.add())

    for method in catalog.methods():
        add(method.input.file.name)
        add(pool.FindServiceByName(method.service).file.name)
    return files.SerializeToString()


@pytest.fixture(scope="module")
def seen(up: Installation, program: Path) -> dict[str, Any]:
    """What the client saw."""
    url = f"http://{up.endpoints['gateway']}"
    token = up.home / "data" / "token"
    headers = {"authorization": f"Bearer {token.read_text().strip()}"}
    with httpx.Client(base_url=url, headers=headers, timeout=60) as http:
        source = {"source": {"directory": {"path": str(up.project(a__txt="a\n"))}}}
        workspace = http.post("/v1/workspaces", json=source).json()["workspace"]["workspaceId"]
        step = {"input": {"readFile": {"path": "a.txt"}}}
        body = {"goal": "typed", "workspaceId": workspace, "steps": [step], "start": True}
        run = http.post("/v1/runs", json=body).json()["run"]["runId"]
        http.get(f"/v1/runs/{run}:watch")
    described = program.parent / "descriptors.binpb"
    described.write_bytes(descriptors())
    done = subprocess.run(
        ["node", str(program), url, str(token), str(described), run],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_typed_answer(seen: dict[str, Any]) -> None:
    assert (seen["run"]["goal"], seen["run"]["state"]) == ("typed", run_pb2.RUN_STATE_COMPLETED)


def test_a_stream_and_its_resumption(seen: dict[str, Any]) -> None:
    assert seen["seqs"] == list(range(1, seen["run"]["length"] + 1))
    assert seen["rest"] == 0


@pytest.mark.parametrize(
    ("call", "code"),
    [("unknown", 5), ("invalid", 3), ("stranger", 16), ("nobody", 16), ("streamed", 5), ("late", 4)],
)
def test_an_error_with_its_code_and_details(seen: dict[str, Any], call: str, code: int) -> None:
    assert seen[call]["code"] == code, seen[call]
    assert seen[call]["message"]
    if call != "late":
        assert "google.rpc.ErrorInfo" in seen[call]["types"]
    if call == "unknown":
        assert seen[call]["message"] == "There is no run run-unknown ü."

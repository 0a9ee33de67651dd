from __future__ import annotations

import base64
from typing import Any

from tests.support.forging import forged, never_internal

from interlock.common.errors import Reason
from interlock.v1 import executor_pb2 as pb


async def test_list_workspaces(executor: Any) -> None:
    async def with_token(body: bytes) -> None:
        token = forged(b"page", "ListWorkspaces", body)
        await executor.call("ListWorkspaces", pb.ListWorkspacesRequest(page_token=token))

    assert {"taken", "PAGE_TOKEN_INVALID"} <= await never_internal(with_token, Reason.PAGE_TOKEN_INVALID)


async def test_list_snapshots(executor: Any) -> None:
    workspace = await executor.workspace()

    async def with_token(body: bytes) -> None:
        token = forged(b"page", f"ListSnapshots/{workspace}", body)
        await executor.call(
            "ListSnapshots", pb.ListSnapshotsRequest(workspace_id=workspace, page_token=token)
        )

    assert {"taken", "PAGE_TOKEN_INVALID"} <= await never_internal(with_token, Reason.PAGE_TOKEN_INVALID)


async def test_list_files(executor: Any) -> None:
    """Its tokens name a tree and a path; they have no check."""
    workspace = await executor.workspace()
    head = await executor.head(workspace)

    async def ask(token: bytes) -> None:
        text = base64.urlsafe_b64encode(token).decode()
        await executor.call("ListFiles", pb.ListFilesRequest(workspace_id=workspace, page_token=text))

    await never_internal(ask, Reason.PAGE_TOKEN_INVALID)
    await ask(f'["{head}", "a.txt"]'.encode())

    async def of_head(body: bytes) -> None:
        await ask(f'["{head}", '.encode() + body + b"]")

    assert {"PAGE_TOKEN_INVALID"} <= await never_internal(of_head, Reason.PAGE_TOKEN_INVALID)
    await never_internal(
        lambda body: ask(b"[" * 6000) if body == b"" else of_head(body), Reason.PAGE_TOKEN_INVALID
    )

"""A scripted orchestrator and the Approval service on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.support.approvals import (
    Caller,
    approvals,
)
from tests.support.fake_orchestrator import FakeOrchestrator, serving


@pytest.fixture
def fake() -> FakeOrchestrator:
    return FakeOrchestrator()


@pytest.fixture
async def upstream(fake: FakeOrchestrator) -> AsyncIterator[str]:
    async with serving(fake) as address:
        yield address


@pytest.fixture
async def caller(upstream: str) -> AsyncIterator[Caller]:
    async with approvals(upstream) as caller:
        await caller.wait_healthy()
        yield caller

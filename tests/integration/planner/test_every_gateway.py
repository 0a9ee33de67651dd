"""The planning suite against each protocol; against LiteLLM it is in tests/interop/litellm."""

from __future__ import annotations

import pytest
from tests.integration.planner.conftest import Planner
from tests.support.models import KEY, ScriptedServer
from tests.support.planning import cases


@pytest.mark.parametrize("kind", ["openai", "router"])
async def test_every_case_ends_in_a_plan_or_a_typed_error(
    planner: Planner, server: ScriptedServer, kind: str
) -> None:
    async with planner(kind, INTERLOCK_MODEL_ATTEMPTS="2") as stub:
        for case in cases(kind):
            server.script(*case.answers)
            response = await case.hold(stub)
            assert KEY.encode() not in response.SerializeToString(), case.name

"""Effects in escrow against a plain in-memory tree: random programs of steps, decisions, kills and outside changes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.support.escrow import Escrow
from tests.support.installation import Installation
from tests.support.trees import Tree, write_tree

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

START: Tree = {
    b"a": ("f", 0o644, b"one\n"),
    b"b": ("f", 0o755, b"#!/bin/sh\n"),
    b"d": ("d", 0o755),
    b"d/x": ("f", 0o644, b"x\n"),
    b"d/e": ("d", 0o750),
    b"d/e/y": ("f", 0o600, b"\0\xff"),
    b"link": ("l", b"d/x"),
    b"new\nline": ("f", 0o644, b"odd\n"),
    b"\xff\xfe": ("d", 0o755),
}
PATHS = [*START, b"c", b"d/z", b"d/e/w", b"\xff\xfe/q", b"-rf"]
SERVICES = ("orchestrator", "executor", "approval")

paths = st.sampled_from(PATHS)
modes = st.sampled_from([0o644, 0o755, 0o700, 0o600]).map(lambda mode: mode | 0o600)
operations = st.one_of(
    st.tuples(st.just("write"), paths, st.sampled_from([b"", b"1\n", b"2\n", b"\0bin", b"x" * 9000])),
    st.tuples(st.just("append"), paths, st.sampled_from([b"more\n", b"!"])),
    st.tuples(st.just("mkdir"), paths, st.none()),
    st.tuples(st.just("remove"), paths, st.none()),
    st.tuples(st.just("chmod"), paths, st.sampled_from([0o700, 0o755, 0o750])),
    st.tuples(st.just("link"), paths, st.sampled_from([b"a", b"d", b"nowhere"])),
    st.tuples(st.just("move"), paths, paths),
    st.tuples(st.just("replace"), paths, st.none()),
)
programs = st.lists(operations, min_size=1, max_size=4)
gates = st.sampled_from(["effect", "effect", "effect", "none"])
verdicts = st.sampled_from(["approve", "approve", "approve", "skip", "reject-skip", "reject-fail"])
small = st.integers(0, 5)
plain = st.one_of(
    st.tuples(st.just("outside"), programs),
    st.tuples(st.just("run"), st.lists(programs, min_size=1, max_size=3), gates),
    st.tuples(st.just("decide"), verdicts),
    st.tuples(st.just("decide"), verdicts),
    st.tuples(st.just("rollback"), small, small),
    st.tuples(st.just("revert"), small, small),
    st.tuples(st.just("fork"), small, small),
)
killed = st.lists(st.sampled_from(SERVICES), min_size=1, max_size=2, unique=True).map(tuple)
kills = st.one_of(
    st.tuples(st.just("kill"), killed),
    st.tuples(st.just("while"), killed, st.integers(0, 60), plain),
)


async def play(up: Installation, actions: list[tuple[Any, ...]]) -> None:
    """Carry the actions out on a workspace of their own; each is followed by every comparison."""
    directory = up.project()
    write_tree(directory, START)
    async with up.client(patient=True) as client:
        workspace = await client.open_directory(directory)
        escrow = Escrow(up, client, directory, workspace.workspace_id, dict(START), dict(START))
        for number, action in enumerate(actions):
            try:
                await escrow.do(action)
            except BaseException as error:
                error.add_note(f"at action {number}: {action!r}")
                raise
        if escrow.active is not None:
            await client.cancel_run(escrow.active.run_id)
        await escrow.journals_verify()


PROFILE = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)


@settings(PROFILE)
@given(st.lists(plain, min_size=3, max_size=14))
def test_after_every_action_everything_agrees_with_the_model(
    crashing: Installation, actions: list[tuple[Any, ...]]
) -> None:
    asyncio.run(play(crashing, actions))


@settings(PROFILE, max_examples=4)
@given(st.lists(st.one_of(plain, kills), min_size=4, max_size=10))
def test_also_when_services_are_killed_at_any_moment(
    crashing: Installation, actions: list[tuple[Any, ...]]
) -> None:
    asyncio.run(play(crashing, actions))


@pytest.mark.torture
@pytest.mark.timeout(7200)
@settings(PROFILE, max_examples=1000)
@given(st.lists(plain, min_size=3, max_size=25))
def test_many_long_programs(crashing: Installation, actions: list[tuple[Any, ...]]) -> None:
    asyncio.run(play(crashing, actions))


@pytest.mark.torture
@pytest.mark.timeout(7200)
@settings(PROFILE, max_examples=100)
@given(st.lists(st.one_of(plain, kills), min_size=4, max_size=16))
def test_many_programs_with_kills(crashing: Installation, actions: list[tuple[Any, ...]]) -> None:
    asyncio.run(play(crashing, actions))

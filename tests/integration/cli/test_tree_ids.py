"""Tree ids as tables print them are taken wherever a tree is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.command_line import EDIT, Installation, execute, plan

from interlock.cli.trees import find_tree
from interlock.common.errors import InterlockError, Reason
from interlock.v1.run_pb2 import Run
from interlock.v1.step_pb2 import Step
from interlock.v1.workspace_pb2 import Snapshot


@pytest.mark.slow
def test_what_is_printed_is_taken(interlock: Installation, project: Path) -> None:
    execute(interlock, project, EDIT)
    rows = interlock("workspace", "show", str(project)).stdout.partition("TREE")[2].splitlines()[1:]
    newest, oldest = rows[0].split()[0], rows[-1].split()[0]
    assert len(newest) == len(oldest) == 12
    whole = interlock.json("workspace", "diff", str(project))
    diff = interlock.json(
        "workspace", "diff", str(project), "--from", oldest, "--to", f"sha256:{newest.upper()[:8]}"
    )
    assert diff == whole
    assert "b.txt" not in interlock("workspace", "files", str(project), "--tree", oldest).stdout
    assert "b.txt" in interlock("workspace", "files", str(project), "--tree", newest).stdout
    unknown = interlock("workspace", "files", str(project), "--tree", "0" * 12, code=5)
    assert "TREE_NOT_FOUND" in unknown.stderr
    assert "workspace show" in unknown.stderr
    assert (
        "is not a tree id" in interlock("workspace", "files", str(project), "--tree", "head", code=2).stderr
    )


@pytest.mark.slow
def test_a_tree_that_only_a_preview_has_shown(interlock: Installation, project: Path) -> None:
    started = interlock.json("run", "start", "-w", str(project), "--plan", plan(project, EDIT))
    run = interlock.json("run", "wait", started["runId"], code=3)
    tree = run["steps"][0]["effect"]["resultTree"].removeprefix("sha256:")
    listed = interlock("workspace", "files", str(project), "--tree", tree[:12]).stdout
    assert "b.txt" in listed
    interlock("run", "cancel", run["runId"])


@pytest.mark.slow
def test_a_workspace_by_the_beginning_of_its_id(interlock: Installation, project: Path) -> None:
    made = interlock.json("workspace", "create", str(project))["workspaceId"]
    assert interlock.json("workspace", "show", made[:25])["workspace"]["workspaceId"] == made
    assert "begins with ws-zzzz" in interlock("workspace", "show", "ws-zzzzzzzzzz", code=5).stderr
    assert "There is no workspace" in interlock("workspace", "show", "ws-0", code=5).stderr, (
        "too short to be one"
    )


class Known:
    """A client of a workspace with these trees, and runs whose steps have prepared others."""

    def __init__(self, heads: list[str], prepared: list[str]) -> None:
        self._heads, self._prepared = heads, prepared

    async def every_snapshot(self, workspace_id: str):  # type: ignore[no-untyped-def]
        for tree in self._heads:
            yield Snapshot(tree=tree)

    async def list_runs(self, *, workspace_id: str, limit: int) -> list[Run]:
        return [Run(run_id="run-1")]

    async def list_steps(self, run_id: str):  # type: ignore[no-untyped-def]
        for tree in self._prepared:
            step = Step()
            step.effect.result_tree = tree
            yield step


def tree(beginning: str) -> str:
    return f"sha256:{beginning:0<64}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ""),
        ("aaaaaaaa", tree("aaaaaaaa")),
        ("sha256:AAAAAAAA", tree("aaaaaaaa")),
        ("b" * 20, tree("b" * 20)),
        ("dddddddd1", tree("dddddddd1")),
        ("f" * 64, "sha256:" + "f" * 64),
    ],
)
async def test_what_fits_one(text: str, found: str) -> None:
    heads = [tree("aaaaaaaa"), tree("aaaaaaaa"), tree("dddddddd1"), tree("dddddddd2")]
    known = Known(heads, ["", tree("b" * 20)])
    assert await find_tree(known, "ws-1", text, "from") == found  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "reason", "said"),
    [
        ("dddddddd", Reason.INVALID_ARGUMENT, "may be any of 2 trees: dddddddd1000"),
        ("eeeeeeee", Reason.TREE_NOT_FOUND, "No tree of ws-1 begins with eeeeeeee"),
        ("ddddddd", Reason.INVALID_ARGUMENT, "is not a tree id"),
        ("sha256:", Reason.INVALID_ARGUMENT, "is not a tree id"),
        ("d" * 65, Reason.INVALID_ARGUMENT, "is not a tree id"),
        ("../../x", Reason.INVALID_ARGUMENT, "is not a tree id"),
    ],
)
async def test_what_fits_several_or_none(text: str, reason: Reason, said: str) -> None:
    known = Known([tree("dddddddd1"), tree("dddddddd2")], [])
    with pytest.raises(InterlockError) as refused:
        await find_tree(known, "ws-1", text, "from")  # type: ignore[arg-type]
    assert (refused.value.reason, refused.value.field) == (reason, "from")
    assert said in refused.value.message

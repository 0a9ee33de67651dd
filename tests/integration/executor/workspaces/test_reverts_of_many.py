"""Random steps with outside edits between them, all taken out at once: the model's three-way merges, or nothing."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.executor.workspaces.test_reverts import Step, asked, flat, step
from tests.support.escrow_model import tree_id
from tests.support.trees import Tree, mutate, programs, read_tree, trees, write_tree

from interlock.common.digests import digest_bytes
from interlock.common.errors import InterlockError, Reason
from interlock.executor.workspaces import DirectorySource, Workspaces

_numbers = itertools.count()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_rollback_is_every_merge_or_nothing(spaces: Workspaces, room: Path, data: st.DataObject) -> None:
    """Around others' edits between the steps and after them; alone, exactly the tree from before."""
    live = room / f"many{next(_numbers)}"
    live.mkdir()
    write_tree(live, data.draw(trees(), label="tree"))
    workspace = spaces.create(DirectorySource(live)).id
    start, own = read_tree(live), True
    done: list[Step] = []
    changed: list[tuple[Tree, Tree]] = []
    for number in range(data.draw(st.integers(1, 3), label="steps")):
        if data.draw(st.integers(0, 2), label="somebody") == 0:
            mutate(bytes(live), data.draw(programs(read_tree(live), 3), label="by hand"))
            spaces.look_for_drift(workspace)
            own = own and read_tree(live) == start
        before = read_tree(live)
        made = step(spaces, workspace, data.draw(programs(before, 4), label="step"), f"own/{number}")
        if made[0] != made[1]:
            done.append(made)
            changed.append((read_tree(live), before))
    if not done:
        return
    head = spaces.get(workspace).head
    if data.draw(st.booleans(), label="somebody after all"):
        mutate(bytes(live), data.draw(programs(read_tree(live), 3), label="by hand"))
    now = read_tree(live)
    whole = digest_bytes(head), digest_bytes(tree_id(start))
    ask = asked(*reversed(done), whole=whole, own=("own/",))
    want: Tree | None = now
    for after, before in reversed(changed):
        want = flat(after, before, want) if want is not None else None
    try:
        spaces.revert(workspace, ask)
    except InterlockError as refused:
        if refused.reason is not Reason.REVERT_CONFLICT:
            raise
        assert read_tree(live) == now
        assert not (own and tree_id(now) == head), "alone, nothing is in the way"
    else:
        assert want is not None or own
        found = read_tree(live)
        assert found in (want, flat(read(done, changed), start, now) if own else want)
        if own and tree_id(now) == head:
            assert found == start, "exactly the old tree"
    shutil.rmtree(live, ignore_errors=True)


def read(done: list[Step], changed: list[tuple[Tree, Tree]]) -> Tree:
    """Where the steps had led to, as a plain tree."""
    assert len(done) == len(changed)
    return changed[-1][0]

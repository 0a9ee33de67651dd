"""One published effect is taken out again: what changed since stays; where it is the same thing, nothing changes."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.trees import Tree, mutate, programs, read_tree, trees, write_tree

from interlock.common.digests import digest_bytes
from interlock.common.errors import InterlockError, Reason
from interlock.executor.snapshots.diff3 import merge_texts
from interlock.executor.workspaces import DirectorySource, TreeSource, Workspaces
from interlock.executor.workspaces.reverts import Revert

Step = tuple[str, str]
LINES = b"".join(b"line %d\n" % n for n in range(9))


def step(spaces: Workspaces, workspace: str, program: list[tuple[Any, ...]], key: str) -> Step:
    """What a program changes in a fork, published. Its base and its result."""
    fork = spaces.fork(workspace)
    mutate(bytes(fork.upper), program)
    captured = spaces.capture(fork)
    spaces.discard(fork)
    spaces.publish(workspace, captured.base_tree, captured.result_tree, key=key)
    return captured.base_tree, captured.result_tree


def revert(spaces: Workspaces, workspace: str, done: Step, key: str = "r", **more: Any) -> Any:
    return spaces.revert(workspace, asked(done, key=key, **more))


def asked(
    *done: Step, key: str = "r", only_look: bool = False, expected_head: str = "", **more: Any
) -> Revert:
    """To take out what these have done, in this order."""
    first, *others = [(digest_bytes(result), digest_bytes(base)) for base, result in done]
    head = digest_bytes(expected_head) if expected_head else b""
    name = "" if only_look else key
    return Revert(*first, "revert", name, "everything", head, only_look, tuple(others), **more)


@pytest.fixture
def workspace(spaces: Workspaces, live: Path) -> str:
    start: Tree = {b"a.txt": ("f", 0o644, LINES), b"d": ("d", 0o755), b"d/in": ("f", 0o644, b"in\n")}
    write_tree(live, start)
    return spaces.create(DirectorySource(live)).id


def test_later_steps_and_the_users_own_edits_stay(spaces: Workspaces, live: Path, workspace: str) -> None:
    first = step(spaces, workspace, [("write", b"one", b"1\n"), ("chmod", b"d/in", 0o700)], "1")
    step(spaces, workspace, [("write", b"two", b"2\n")], "2")
    (live / "mine").write_bytes(b"mine\n")
    done = revert(spaces, workspace, first)
    assert done.how == "merged"
    found = read_tree(live)
    assert found[b"two"] == ("f", 0o644, b"2\n")
    assert b"one" not in found
    assert found[b"d/in"] == ("f", 0o644, b"in\n")
    assert (live / "mine").read_bytes() == b"mine\n"
    assert [head.cause for head in spaces.heads(workspace)][-1] == "revert"
    assert spaces.fork(workspace).base_tree == done.head_tree == spaces.get(workspace).head


def test_the_last_step_alone_gives_its_base_again(spaces: Workspaces, live: Path, workspace: str) -> None:
    before = read_tree(live)
    only = step(spaces, workspace, [("remove", b"d", None), ("mkdir", b"n/e", None)], "1")
    done = revert(spaces, workspace, only)
    assert (done.head_tree, done.how) == (only[0], "published")
    assert read_tree(live) == before


def test_lines_of_one_file_are_told_apart(spaces: Workspaces, live: Path, workspace: str) -> None:
    first = step(spaces, workspace, [("write", b"a.txt", LINES.replace(b"line 1", b"ONE"))], "1")
    second = LINES.replace(b"line 1", b"ONE").replace(b"line 5", b"FIVE")
    step(spaces, workspace, [("write", b"a.txt", second)], "2")
    (live / "a.txt").write_bytes(second.replace(b"line 8", b"mine"))
    revert(spaces, workspace, first)
    assert (live / "a.txt").read_bytes() == LINES.replace(b"line 5", b"FIVE").replace(b"line 8", b"mine")


@pytest.mark.parametrize("by", ["later_steps", "directory"])
def test_the_same_lines_conflict_and_nothing_changes(
    spaces: Workspaces, live: Path, workspace: str, by: str
) -> None:
    changes = [("write", b"a.txt", LINES.replace(b"line 1", b"ONE")), ("write", b"other", b"x\n")]
    first = step(spaces, workspace, changes, "1")
    again = LINES.replace(b"line 1", b"uno")
    if by == "later_steps":
        step(spaces, workspace, [("write", b"a.txt", again)], "2")
    else:
        (live / "a.txt").write_bytes(again)
    before, head = read_tree(live), spaces.get(workspace).head
    for only_look in (True, False):
        with pytest.raises(InterlockError) as caught:
            revert(spaces, workspace, first, only_look=only_look)
        error = caught.value
        assert error.reason is Reason.REVERT_CONFLICT
        assert error.metadata["paths"] == "a.txt"
        assert (error.metadata["conflicts"], error.metadata[by]) == ("1", "1")
        assert (read_tree(live), spaces.get(workspace).head) == (before, head)
    # Put right by hand, it goes through.
    (live / "a.txt").write_bytes(LINES)
    revert(spaces, workspace, first)
    assert not (live / "other").exists()


def test_a_directory_stays_for_what_others_put_in_it(spaces: Workspaces, live: Path, workspace: str) -> None:
    made = [("mkdir", b"src/sub", None), ("mkdir", b"lib", None)]
    made += [("write", name, b"x") for name in (b"src/a", b"src/sub/b", b"lib/c")]
    first = step(spaces, workspace, made, "1")
    assert (live / "src/sub/b").exists()
    step(spaces, workspace, [("write", b"src/later", b"later")], "2")
    revert(spaces, workspace, first)
    assert {path for path in read_tree(live) if path.startswith((b"src", b"lib"))} == {b"src", b"src/later"}


def test_conflicts_inside_directories_are_named_file_by_file(
    spaces: Workspaces, live: Path, workspace: str
) -> None:
    made = [("mkdir", b"src", None), ("write", b"src/a", b"a\n"), ("write", b"src/b", b"b\n")]
    first = step(spaces, workspace, made, "1")
    (live / "src/a").write_bytes(b"mine\n")
    (live / "src/b").chmod(0o700)
    with pytest.raises(InterlockError) as caught:
        revert(spaces, workspace, first)
    assert caught.value.metadata["paths"] == "src/a\nsrc/b"


def test_at_most_a_hundred_paths_are_named(spaces: Workspaces, live: Path, workspace: str) -> None:
    first = step(spaces, workspace, [("write", b"n%03d" % n, b"x") for n in range(130)], "1")
    for n in range(130):
        (live / f"n{n:03}").write_bytes(b"mine")
    with pytest.raises(InterlockError) as caught:
        revert(spaces, workspace, first)
    assert len(caught.value.metadata["paths"].split("\n")) == 100
    assert caught.value.metadata["conflicts"] == "130"


def test_asked_again_it_answers_the_same(spaces: Workspaces, live: Path, workspace: str) -> None:
    first = step(spaces, workspace, [("write", b"one", b"1\n")], "1")
    done = revert(spaces, workspace, first)
    (live / "one").write_bytes(b"again\n")
    again = revert(spaces, workspace, first)
    assert (again.head_tree, again.how) == (done.head_tree, "already")
    assert (live / "one").read_bytes() == b"again\n"


def test_only_what_was_published_here_is_reverted(spaces: Workspaces, live: Path, workspace: str) -> None:
    """A prepared effect, turned round, would publish without anyone's approval."""
    fork = spaces.fork(workspace)
    mutate(bytes(fork.upper), [("write", b"evil", b"x")])
    captured = spaces.capture(fork)
    spaces.discard(fork)
    first = step(spaces, workspace, [("write", b"one", b"1\n")], "1")
    wrong = [
        (captured.base_tree, captured.result_tree),
        (captured.result_tree, captured.base_tree),
        (first[1], first[0]),
    ]
    revert(spaces, workspace, first)
    for pair in wrong:
        with pytest.raises(InterlockError) as caught:
            revert(spaces, workspace, pair, key="other")
        assert caught.value.reason is Reason.TREE_NOT_FOUND
    assert not (live / "evil").exists()


def test_a_look_changes_nothing(spaces: Workspaces, live: Path, workspace: str) -> None:
    first = step(spaces, workspace, [("write", b"one", b"1\n")], "1")
    (live / "mine").write_bytes(b"mine")
    before, heads = read_tree(live), len(spaces.heads(workspace))
    seen = revert(spaces, workspace, first, only_look=True)
    assert (read_tree(live), len(spaces.heads(workspace))) == (before, heads)
    assert revert(spaces, workspace, first).head_tree == seen.head_tree


def git(live: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(live), *arguments]
    # Looking must not rewrite the index.
    env = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout


def test_a_git_repository_with_a_dirty_index_is_left_as_it_is(spaces: Workspaces, live: Path) -> None:
    git(live, "init", "-q")
    (live / ".gitignore").write_text("ignored\n")
    (live / "tracked").write_text("one\n")
    (live / "staged").write_text("one\n")
    git(live, "add", "-A")
    git(live, "commit", "-q", "-m", "first")
    (live / "staged").write_text("two\n")
    git(live, "add", "staged")
    (live / "staged").write_text("three\n")
    (live / "untracked").write_text("mine\n")
    (live / "ignored").write_text("mine\n")
    before, status = read_tree(live / ".git", mtimes=True), git(live, "status", "--porcelain", "--ignored")
    workspace = spaces.create(DirectorySource(live)).id
    changes = [("write", b"tracked", b"theirs\n"), ("remove", b"ignored", None), ("write", b"new", b"x")]
    done = step(spaces, workspace, [*changes, ("remove", b"untracked", None)], "1")
    revert(spaces, workspace, done)
    assert read_tree(live / ".git", mtimes=True) == before, "byte for byte, times included"
    assert git(live, "status", "--porcelain", "--ignored") == status
    inside = step(spaces, workspace, [("write", b".git/config", b"[core]\n")], "2")
    revert(spaces, workspace, inside, key="r2")
    assert {k: v[:3] for k, v in read_tree(live / ".git").items()} == {k: v[:3] for k, v in before.items()}


_numbers = itertools.count()


def flat(base: Tree, ours: Tree, theirs: Tree) -> Tree | None:
    """The three-way merge path by path on plain dictionaries; None where it is not clear."""
    merged: Tree = {}
    for path in base.keys() | ours.keys() | theirs.keys():
        found = one(base.get(path), ours.get(path), theirs.get(path))
        if found == ():
            return None
        if found is not None:
            merged[path] = found
    for path in list(merged):
        while path := path.rpartition(b"/")[0]:
            if merged.get(path, ("?",))[0] != "d":
                if path in merged or theirs.get(path, ("?",))[0] != "d" or base.get(path) != theirs[path]:
                    return None
                merged[path] = theirs[path]
    return merged


def one(base: Any, ours: Any, theirs: Any) -> tuple[Any, ...] | None:
    """The merge of what is at one path, None where nothing is; `()` for a conflict."""
    if ours in (base, theirs):
        return theirs  # type: ignore[no-any-return]
    if theirs == base:
        return ours  # type: ignore[no-any-return]
    if not (base and ours and theirs and base[0] == ours[0] == theirs[0] != "l"):
        return ()
    modes = {ours[1], theirs[1]} - {base[1]} or {base[1]}
    if len(modes) > 1:
        return ()
    if base[0] == "d":
        return ("d", modes.pop())
    text = merge_texts(base[2], ours[2], theirs[2])
    return () if text is None else ("f", modes.pop(), text)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_revert_is_the_merge_or_nothing(spaces: Workspaces, room: Path, data: st.DataObject) -> None:
    """Against plain dictionaries: right, or refused with nothing changed."""
    live = room / f"live{next(_numbers)}"
    live.mkdir()
    tree = data.draw(trees(), label="tree")
    write_tree(live, tree)
    workspace = spaces.create(DirectorySource(live)).id
    before = read_tree(live)
    done = step(spaces, workspace, data.draw(programs(before, 5), label="step"), "1")
    after = read_tree(live)
    if data.draw(st.booleans(), label="another step"):
        step(spaces, workspace, data.draw(programs(after, 5), label="later"), "2")
    mutate(bytes(live), data.draw(programs(after, 4), label="by hand"))
    now = read_tree(live)
    if done[0] == done[1]:
        return
    want = flat(after, before, now)
    try:
        revert(spaces, workspace, done)
    except InterlockError as refused:
        if refused.reason is not Reason.REVERT_CONFLICT:
            raise
        kept = read_tree(live) == now
        assert kept
    else:
        assert want is not None
        assert read_tree(live) == want
    shutil.rmtree(live, ignore_errors=True)


def test_in_a_fork_what_came_with_it_is_taken_out_and_put_back(
    spaces: Workspaces, room: Path, live: Path, workspace: str
) -> None:
    first = step(spaces, workspace, [("write", b"one", b"1\n"), ("chmod", b"d/in", 0o700)], "1")
    second = step(spaces, workspace, [("write", b"two", b"2\n")], "2")
    fork = spaces.create(TreeSource(workspace, second[1], room / "out"))
    grandchild = spaces.create(TreeSource(fork.id, second[1], room / "further"))
    before = read_tree(live)
    for each, out in ((fork, room / "out"), (grandchild, room / "further")):
        done = revert(spaces, each.id, first)
        assert done.how == "merged"
        assert "one" not in os.listdir(out)
        assert read_tree(out)[b"d/in"] == ("f", 0o644, b"in\n")
        on_the_way = digest_bytes(done.head_tree), digest_bytes(second[1])
        again = revert(spaces, each.id, (first[1], first[0]), key="again", whole=on_the_way)
        assert again.head_tree == second[1]
        assert read_tree(out) == before
    assert read_tree(live) == before, "the one that it is a fork of stays as it is"


def test_in_a_fork_nothing_is_taken_over_that_was_published_after_it_was_made(
    spaces: Workspaces, room: Path, workspace: str
) -> None:
    first = step(spaces, workspace, [("write", b"one", b"1\n")], "1")
    fork = spaces.create(TreeSource(workspace, first[1], room / "out"))
    later = step(spaces, workspace, [("write", b"two", b"2\n")], "2")
    for pair in (later, (later[1], later[0])):
        with pytest.raises(InterlockError) as caught:
            revert(spaces, fork.id, pair)
        assert caught.value.reason is Reason.TREE_NOT_FOUND
    assert os.listdir(room / "out").count("two") == 0


def test_several_are_taken_out_at_once_around_what_others_did_in_between(
    spaces: Workspaces, live: Path, workspace: str
) -> None:
    """Lines of the same file, other files, before and between and after; exactly the old tree where nobody did."""
    start = spaces.get(workspace).head
    first = step(spaces, workspace, [("write", b"a.txt", LINES.replace(b"line 1", b"ONE"))], "1")
    second = step(
        spaces,
        workspace,
        [("write", b"a.txt", LINES.replace(b"line 1", b"ONE").replace(b"line 3", b"TWO"))],
        "2",
    )
    seen = spaces.revert(workspace, asked(second, first, only_look=True))
    assert seen.head_tree == start
    (live / "a.txt").write_bytes((live / "a.txt").read_bytes().replace(b"line 5", b"mine"))
    (live / "mine").write_bytes(b"mine\n")
    spaces.look_for_drift(workspace)
    third = step(spaces, workspace, [("write", b"b.txt", b"b\n")], "3")
    (live / "a.txt").write_bytes((live / "a.txt").read_bytes().replace(b"line 7", b"late"))
    done = spaces.revert(workspace, asked(third, second, first))
    assert done.how == "merged"
    assert (live / "a.txt").read_bytes() == LINES.replace(b"line 5", b"mine").replace(b"line 7", b"late")
    assert sorted(os.listdir(live)) == ["a.txt", "d", "mine"]
    assert [head.cause for head in spaces.heads(workspace)][-3:] == ["publish", "drift", "revert"]


def test_of_several_all_conflicts_are_named_and_none_is_taken_out(
    spaces: Workspaces, live: Path, workspace: str
) -> None:
    first = step(spaces, workspace, [("write", b"one", b"1\n"), ("write", b"a", b"a\n")], "1")
    second = step(spaces, workspace, [("write", b"two", b"2\n"), ("write", b"b", b"b\n")], "2")
    for name in ("one", "two"):
        (live / name).write_bytes(b"mine\n")
    before, head = read_tree(live), spaces.get(workspace).head
    for only_look in (True, False):
        with pytest.raises(InterlockError) as caught:
            spaces.revert(workspace, asked(second, first, only_look=only_look))
        assert caught.value.reason is Reason.REVERT_CONFLICT
        assert caught.value.metadata["paths"] == "one\ntwo"
    assert (read_tree(live), spaces.get(workspace).head) == (before, head)


def test_the_whole_is_used_only_where_nobody_else_changed_anything(
    spaces: Workspaces, live: Path, workspace: str
) -> None:
    start = digest_bytes(spaces.get(workspace).head)
    first = step(spaces, workspace, [("write", b"one", b"1\n")], "own/1")
    whole = {"whole": (digest_bytes(first[1]), start), "own": ("own/",)}
    looked = spaces.revert(workspace, asked(first, only_look=True, **whole))
    assert (looked.head_tree, looked.how) == ("sha256:" + start.hex(), "published")
    step(spaces, workspace, [("write", b"theirs", b"x\n")], "other/1")
    second = step(spaces, workspace, [("write", b"two", b"2\n")], "own/2")
    whole["whole"] = (digest_bytes(second[1]), start)
    done = spaces.revert(workspace, asked(second, first, **whole))
    assert done.how == "merged"
    assert (live / "theirs").exists(), "what another one published in between stays"
    assert not {"one", "two"} & set(os.listdir(live))

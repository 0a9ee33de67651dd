from __future__ import annotations

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.executor.convert.effects import diff_text, output
from interlock.executor.convert.requests import action_of, limits_of, shown_source, source_of
from interlock.executor.convert.text import wire
from interlock.executor.convert.workspaces import files_token, read_files_token
from interlock.executor.domain.limits import DEFAULT_LIMITS, SECOND
from interlock.executor.domain.model import EditFile, ReadFile, RunCommand
from interlock.executor.sandbox.base import StreamOutput
from interlock.executor.snapshots.diff import Diff, FileDiff
from interlock.v1 import executor_pb2 as pb
from interlock.v1 import step_pb2, workspace_pb2


def test_actions() -> None:
    read = pb.Action(read_file=step_pb2.ReadFileInput(path="a", start_line=1, end_line=2))
    assert action_of(read) == ReadFile("a", 1, 2)
    edit = pb.Action(edit_file=step_pb2.EditFileInput(path="a", new_content="ü"))
    assert action_of(edit) == EditFile("a", new_content="ü".encode())
    empty = pb.Action(edit_file=step_pb2.EditFileInput(path="a", new_content=""))
    assert action_of(empty) == EditFile("a", new_content=b"")
    command = step_pb2.RunCommandInput(
        argv=step_pb2.Argv(items=["a", "b"]), env={"K": "v"}, allowed_exit_codes=[1]
    )
    assert action_of(pb.Action(run_command=command)) == RunCommand(
        argv=("a", "b"), env={"K": "v"}, allowed_exit_codes=(1,)
    )
    with pytest.raises(InterlockError) as caught:
        action_of(pb.Action())
    assert caught.value.reason is Reason.STEP_KIND_UNKNOWN


def test_limits_in_force() -> None:
    nothing = limits_of(step_pb2.Limits(), step_pb2.RunCommandInput(), DEFAULT_LIMITS)
    assert nothing == DEFAULT_LIMITS
    message, command = step_pb2.Limits(memory_bytes=64 << 20, processes=5), step_pb2.RunCommandInput()
    message.wall.FromSeconds(9)
    message.cpu.FromSeconds(3)
    found = limits_of(message, command, DEFAULT_LIMITS)
    assert (found.memory_bytes, found.processes, found.wall_us, found.cpu_us) == (
        64 << 20,
        5,
        9 * SECOND,
        3 * SECOND,
    )
    command.timeout.FromSeconds(4)
    assert limits_of(message, command, DEFAULT_LIMITS).wall_us == 4 * SECOND
    command.timeout.FromSeconds(40)
    assert limits_of(message, command, DEFAULT_LIMITS).wall_us == 9 * SECOND
    with pytest.raises(InterlockError) as caught:
        limits_of(step_pb2.Limits(memory_bytes=1 << 60), command, DEFAULT_LIMITS)
    assert caught.value.field == "limits.memory_bytes"


@pytest.mark.parametrize("path", ["relative", "", "/a\0b"])
def test_sources_must_be_absolute(path: str) -> None:
    source = workspace_pb2.WorkspaceSource(directory=workspace_pb2.DirectorySource(path=path))
    with pytest.raises(InterlockError) as caught:
        source_of(source)
    assert caught.value.reason is Reason.WORKSPACE_SOURCE_INVALID


def test_names_that_are_not_utf8() -> None:
    assert wire(b"a\xffb\xc3\xbc".decode("utf-8", "surrogateescape")) == "a\\xffbü"


def test_a_stream_that_was_kept_whole_is_in_its_head() -> None:
    whole = output(StreamOutput("d", 4, b"ab", b"cd"))
    assert (whole.head, whole.tail, whole.truncated, whole.total_bytes) == (b"abcd", b"", False, 4)
    cut = output(StreamOutput("d", 9, b"ab", b"cd"))
    assert (cut.head, cut.tail, cut.truncated) == (b"ab", b"cd", True)


def test_a_difference_is_cut_at_a_lines_end() -> None:
    file = FileDiff(
        "f", "f", "modified", 0o644, 0o644, 1, 1, False, 1, 1, False, "-é\n+\xff\n+last\n".encode("latin-1")
    )
    diff = Diff((file,), 1, 1, 1, False)
    text, truncated = diff_text(diff, 1000)
    assert (text, truncated) == ("-\\xe9\n+\\xff\n+last\n", False)
    assert diff_text(diff, 14) == ("-\\xe9\n+\\xff\n", True)
    assert diff_text(diff, 3) == ("", True)


@pytest.mark.parametrize("most", [50, 51, 100, 119, 120])
def test_a_cut_difference_says_so_within_its_limit(most: int) -> None:
    file = FileDiff("f", "f", "added", None, 0o644, 0, 1, False, 41, 0, False, b"+x\n" * 41)
    text, truncated = diff_text(Diff((file,), 1, 41, 0, False), most)
    assert truncated
    assert len(text) <= most
    assert text.endswith("interlock: the rest of the difference is left out\n")
    assert set(text.splitlines()[:-1]) <= {"+x"}


def test_listing_tokens() -> None:
    tree, path = "sha256:" + "0" * 64, "/".join(10 * [b"x\xff".decode("utf-8", "surrogateescape") * 100])
    assert read_files_token(files_token(tree, path)) == (tree, path)
    assert (files_token(tree, ""), read_files_token("")) == ("", ("", ""))
    for bad in ("x", "AAAA", "bnVsbA==", "WzEsMl0=", "é"):
        with pytest.raises(InterlockError) as caught:
            read_files_token(bad)
        assert caught.value.reason is Reason.PAGE_TOKEN_INVALID


def test_a_source_is_shown_without_credentials() -> None:
    source = workspace_pb2.WorkspaceSource(
        git=workspace_pb2.GitSource(url="https://user:p@ss@host/x.git", ref="v1")
    )
    shown = workspace_pb2.WorkspaceSource.FromString(shown_source(source))
    assert (shown.git.url, shown.git.ref) == ("https://host/x.git", "v1")
    assert source.git.url == "https://user:p@ss@host/x.git"

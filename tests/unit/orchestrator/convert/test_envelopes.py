"""What an effect is seen to have done."""

from __future__ import annotations

from interlock.orchestrator.convert.envelopes import seen
from interlock.v1 import step_pb2 as pb

FILE, DIRECTORY = pb.ENTRY_TYPE_FILE, pb.ENTRY_TYPE_DIRECTORY
ADDED, MODIFIED = pb.CHANGE_KIND_ADDED, pb.CHANGE_KIND_MODIFIED


def effect(*changes: pb.FileChange, total: int = 0) -> pb.Effect:
    return pb.Effect(changes=changes, changes_total=total or len(changes))


def test_where_a_renamed_file_was_counts_too() -> None:
    moved = pb.FileChange(path="src/b", old_path="secret/a", kind=pb.CHANGE_KIND_RENAMED, new_size=3)
    assert seen(effect(moved)).paths == ("src/b", "secret/a")


def test_a_directory_made_for_what_is_below_it_is_no_change_of_its_own() -> None:
    made = pb.FileChange(path="src", kind=ADDED, new_type=DIRECTORY)
    inner = pb.FileChange(path="src/deep", kind=ADDED, new_type=DIRECTORY)
    file = pb.FileChange(path="src/deep/a", kind=ADDED, new_type=FILE, new_size=7)
    assert seen(effect(made, inner, file)).paths == ("src/deep/a",)
    assert seen(effect(made, inner)).paths == ("src/deep",)
    assert seen(effect(made)).paths == ("src",)


def test_a_directory_that_took_the_place_of_something_counts() -> None:
    replaced = pb.FileChange(path="src", kind=MODIFIED, old_type=FILE, new_type=DIRECTORY)
    file = pb.FileChange(path="src/a", kind=ADDED, new_type=FILE, new_size=7)
    assert seen(effect(replaced, file)).paths == ("src", "src/a")


def test_bytes_are_those_of_the_files_as_they_are_now() -> None:
    grown = pb.FileChange(path="a", kind=MODIFIED, old_size=10, new_size=30)
    gone = pb.FileChange(path="b", kind=pb.CHANGE_KIND_DELETED, old_size=1000)
    assert seen(effect(grown, gone)).size == 30


def test_more_than_is_listed_is_not_complete() -> None:
    change = pb.FileChange(path="a", kind=ADDED)
    assert seen(effect(change)).complete
    assert not seen(effect(change, total=2)).complete


def test_links_that_lead_out_are_seen() -> None:
    found = seen(effect(pb.FileChange(path="src/in"), pb.FileChange(path="src/out", leads_out=True)))
    assert found.links_out == ("src/out",)

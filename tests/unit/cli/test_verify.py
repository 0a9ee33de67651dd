"""The offline verifier: whole bundles pass; any change is found and named."""

from __future__ import annotations

import base64
import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies

from interlock.common.digests import canonical_json, sha256_text
from interlock.verify import canonical as own_canonical
from interlock.verify import verify_bundle, verify_file
from interlock.verify.lines import split_lines
from interlock.verify.report import MAX_PROBLEMS

Build = Callable[[list[dict[str, Any]], list[bytes]], list[bytes]]


def check(lines: list[bytes], head: str = "") -> list[str]:
    return [str(problem) for problem in verify_bundle(split_lines([b"".join(lines)]), head).problems]


def rewrite(raw: bytes, **changes: Any) -> bytes:
    value = json.loads(raw)
    value.update(changes)
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def edit_event(raw: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    event = json.loads(base64.b64decode(json.loads(raw)["event"]))
    change(event)
    return rewrite(raw, event=base64.b64encode(canonical_json(event)).decode())


def test_a_whole_bundle_verifies(bundle: list[bytes]) -> None:
    report = verify_bundle(bundle)
    assert report.problems == []
    assert report.ok
    assert (report.events, report.payloads) == (4, 2)
    assert report.head == json.loads(bundle[0])["head"]
    assert report.run_id == json.loads(bundle[0])["run_id"]


def test_every_single_byte_matters(bundle: list[bytes]) -> None:
    whole = b"".join(bundle)
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1 << (position % 8)
        assert not verify_bundle(split_lines([bytes(changed)])).ok, f"byte {position} may be changed"


@given(data=strategies.data())
def test_any_byte_to_any_other_value_is_found(data: strategies.DataObject) -> None:
    whole = _example()
    position = data.draw(strategies.integers(0, len(whole) - 1))
    value = data.draw(strategies.integers(0, 255).filter(lambda each: each != whole[position]))
    changed = whole[:position] + bytes([value]) + whole[position + 1 :]
    assert not verify_bundle(split_lines([changed])).ok


@given(data=strategies.data())
def test_any_removed_or_inserted_bytes_are_found(data: strategies.DataObject) -> None:
    whole = _example()
    start = data.draw(strategies.integers(0, len(whole) - 1))
    if data.draw(strategies.booleans()):
        changed = whole[:start] + whole[start + data.draw(strategies.integers(1, 200)) :]
    else:
        changed = whole[:start] + data.draw(strategies.binary(min_size=1, max_size=20)) + whole[start:]
    assert changed == whole or not verify_bundle(split_lines([changed])).ok


@given(order=strategies.permutations(range(8)))
def test_any_other_order_of_lines_is_found(order: list[int]) -> None:
    lines = _example().splitlines(keepends=True)
    assert len(lines) == 8
    shuffled = [lines[index] for index in order]
    assert verify_bundle(shuffled).ok == (shuffled == lines)


@given(cuts=strategies.lists(strategies.integers(0, 3000), max_size=8))
def test_lines_are_the_same_however_the_stream_is_cut(cuts: list[int]) -> None:
    whole = _example()
    edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    chunks = [whole[a:b] for a, b in itertools.pairwise(edges)]
    assert list(split_lines(chunks)) == whole.splitlines(keepends=True)


def test_a_changed_event_is_named_by_the_next_one(bundle: list[bytes]) -> None:
    bundle[2] = edit_event(bundle[2], lambda event: event["data"]["call"].update(n=4))
    assert any(found.startswith("line 4: event 3: its prev is not the digest") for found in check(bundle))


def test_a_changed_last_event_contradicts_the_head(bundle: list[bytes]) -> None:
    bundle[4] = edit_event(bundle[4], lambda event: event.update(data={"more": 1}))
    (found,) = check(bundle)
    assert found.startswith("line 1: header: its head is not the digest of the last event")


def test_a_rewritten_chain_is_whole_but_has_another_head(bundle: list[bytes], build: Build) -> None:
    known = json.loads(bundle[0])["head"]
    forged = build([{"goal": "something else"}], [])
    assert check(forged) == []
    (found,) = check(forged, known)
    assert known in found


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("v", 2, "event version 2 is not known"),
        ("seq", 9, "its seq is 9"),
        ("run_id", "run-other", "it belongs to 'run-other'"),
        ("at", "2026-11-22T12:00:00Z", "its time is malformed"),
        ("type", "Run Created", "its type is malformed"),
        ("step", -1, "its step is malformed"),
        ("data", [], "its data is not an object"),
    ],
)
def test_each_field_of_an_event_is_checked(bundle: list[bytes], field: str, value: Any, message: str) -> None:
    bundle[1] = edit_event(bundle[1], lambda event: event.update({field: value}))
    assert any(found.startswith("line 2: event 1: ") and message in found for found in check(bundle))


def test_an_event_with_more_or_fewer_fields_is_none(bundle: list[bytes]) -> None:
    bundle[1] = edit_event(bundle[1], lambda event: event.pop("at"))
    assert any("does not have the fields of an event" in found for found in check(bundle))


def test_events_must_be_canonical(bundle: list[bytes]) -> None:
    data = base64.b64decode(json.loads(bundle[1])["event"])
    bundle[1] = rewrite(bundle[1], event=base64.b64encode(data + b" ").decode())
    assert any("event 1: its bytes are not in canonical form" in found for found in check(bundle))


def test_a_removed_event_leaves_a_gap(bundle: list[bytes]) -> None:
    del bundle[2]
    found = check(bundle)
    assert any("event 2: its seq is 3" in each for each in found)
    assert any("header: says 4 events; there are 3" in each for each in found)


def test_a_missing_payload_is_named_with_the_event_that_refers_to_it(bundle: list[bytes]) -> None:
    digest = json.loads(bundle[5])["payload"]
    del bundle[5]
    assert f"event 2: refers to the payload {digest}, which is missing" in check(bundle)


def test_payloads_that_nobody_refers_to_are_refused(build: Build) -> None:
    (found,) = check(build([{"goal": "x"}], [b"smuggled"]))
    assert found.endswith("no event refers to it")


def test_payloads_have_one_order(bundle: list[bytes]) -> None:
    bundle[5], bundle[6] = bundle[6], bundle[5]
    assert check(bundle) == ["bundle: the payloads are not in the order in which events refer to them"]


def test_a_payload_must_have_its_digest(bundle: list[bytes]) -> None:
    bundle[5] = rewrite(bundle[5], data=base64.b64encode(b"another prompt").decode())
    assert any("its content is not what its digest names" in found for found in check(bundle))


def test_a_payload_twice_is_refused(bundle: list[bytes]) -> None:
    bundle.insert(6, bundle[5])
    assert any("it is there twice" in found for found in check(bundle))


def test_names_that_people_chose_are_no_references(build: Build) -> None:
    nowhere = sha256_text(b"nowhere")
    for place in ("env", "labels", "metadata"):
        assert check(build([{place: {"a_payload": nowhere}}], [])) == []
    assert check(build([{"other": {"a_payload": nowhere}}], [])) != []


@pytest.mark.parametrize("text", ["YQ", "YQ==\n", "YR==", "Y Q=", "é", "", "====", 5, None])
def test_base64_has_one_form(bundle: list[bytes], text: Any) -> None:
    bundle[1] = rewrite(bundle[1], event=text)
    assert check(bundle) != []


def test_other_forms_of_a_line_are_refused(bundle: list[bytes]) -> None:
    header = json.loads(bundle[0])
    for other in (
        json.dumps(header).encode() + b"\n",
        json.dumps(dict(sorted(header.items())), separators=(",", ":")).encode() + b"\n",
        bundle[0].replace(b"interlock", b"\\u0069nterlock"),
        bundle[0].replace(b'"version":1', b'"version":1,"version":1'),
        bundle[0].rstrip(b"\n") + b"\r\n",
    ):
        assert any("line 1: " in found for found in check([other, *bundle[1:]])), other


def test_what_comes_after_the_end_is_refused(bundle: list[bytes]) -> None:
    assert any("something after the end line" in found for found in check([*bundle, b"\n"]))


def test_a_cut_bundle_says_so(bundle: list[bytes]) -> None:
    assert any("the end line is missing" in found for found in check(bundle[:-1]))


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"\n",
        b"{}\n",
        b"[]\n",
        b"null\n",
        b"\xff\xfe\n",
        b"<html>\n",
        b"{" * 5000 + b"\n",
        b"[" * 100_000,
    ],
)
def test_junk_is_refused_and_never_raises(junk: bytes) -> None:
    assert not verify_bundle(split_lines([junk])).ok


@given(junk=strategies.binary(max_size=300))
def test_random_bytes_are_refused_and_never_raise(junk: bytes) -> None:
    assert not verify_bundle(split_lines([junk])).ok


def test_problems_are_bounded(bundle: list[bytes]) -> None:
    report = verify_bundle([bundle[0], *([b"x\n"] * 1000)])
    assert len(report.problems) == MAX_PROBLEMS + 1


def test_a_future_version_is_named(bundle: list[bytes]) -> None:
    bundle[0] = rewrite(bundle[0], version=3)
    assert check(bundle) == ["line 1: header: bundle version 3 is not known here; 1 and 2 are"]


_scalars = (
    strategies.none()
    | strategies.booleans()
    | strategies.integers(-(2**53) + 1, 2**53 - 1)
    | strategies.text(max_size=20)
)
_values = strategies.recursive(
    _scalars,
    lambda inner: (
        strategies.lists(inner, max_size=5)
        | strategies.dictionaries(strategies.text(max_size=8), inner, max_size=5)
    ),
    max_leaves=20,
)


@given(value=_values)
def test_both_canonicalisers_agree(value: Any) -> None:
    data = canonical_json(value)
    assert own_canonical.dump(value) == data
    assert own_canonical.parse(data) == value


@pytest.mark.parametrize(
    "data",
    [b"1.0", b"1e3", b"-0", b"01", b"9007199254740992", b'{"b":1,"a":2}', b'{"a":1,"a":1}', b'"\\u0041"', b" 1",
     b'"\\/"', b"NaN", b"1" * 5000, b'"\\ud800"', b"\xff", b"", b"[" * 200 + b"]" * 200],
)  # fmt: skip
def test_what_is_not_canonical_is_refused(data: bytes) -> None:
    with pytest.raises(own_canonical.NotCanonicalError):
        own_canonical.parse(data)


def test_the_module_runs_alone_with_the_standard_library(bundle: list[bytes], tmp_path: Path) -> None:
    import interlock.verify

    copied = tmp_path / "interlock" / "verify"
    copied.mkdir(parents=True)
    for source in Path(interlock.verify.__file__).parent.glob("*.py"):
        (copied / source.name).write_text(source.read_text())
    good, bad = tmp_path / "good", tmp_path / "bad\x1b[31m"
    good.write_bytes(b"".join(bundle))
    bad.write_bytes(b"".join(bundle[:-1]))

    def run(path: Path) -> subprocess.CompletedProcess[str]:
        # -S: without site-packages nothing but the standard library can be imported.
        line = [sys.executable, "-S", "-E", "-m", "interlock.verify", str(path)]
        return subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (run(good).returncode, run(good).stderr) == (0, "")
    assert run(good).stdout.startswith("verified: 4 events, 2 payloads")
    assert run(bad).returncode == 1
    assert "end line is missing" in run(bad).stderr
    assert run(tmp_path / "absent").returncode == 2


def test_files_are_read_in_bounded_lines(tmp_path: Path, bundle: list[bytes]) -> None:
    path = tmp_path / "bundle"
    path.write_bytes(b"".join(bundle))
    assert verify_file(path).ok


def _example() -> bytes:
    """The fixture's bundle, for property tests, which cannot use function fixtures."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("journals_by_hand", Path(__file__).parent / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    one, two = b"a prompt", b"a reply"
    datas = [
        {"prompt_payload": module.digest(one)},
        {"reply_payload": module.digest(two)},
        {"goal": "tidy up"},
        {},
    ]
    whole: bytes = b"".join(module.make_bundle(module.make_events(datas), [one, two]))
    return whole


@pytest.mark.parametrize(
    "junk",
    [
        b"#!/bin/sh\necho\n",
        b"{}\n{}\n",
        b'{"a": 1}\nx\ny\nz',
        b"\x7fELF\0\0\n" * 9,
        b"\n" * 50,
        b"no newline",
    ],
)
def test_another_file_is_one_problem(junk: bytes, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(junk)
    report = verify_file(tmp_path / "other", "sha256:" + "0" * 64, [tmp_path / "other"])
    assert [str(problem) for problem in report.problems] == [
        "line 1: header: this is not an Interlock journal bundle, or its first line was changed"
    ]


def test_an_empty_file_is_one_problem(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert [str(problem) for problem in verify_file(tmp_path / "empty").problems] == [
        "bundle: the file is empty"
    ]

"""The demo's material: the plan is a valid plan, and a hostile archive is refused before anything is written."""

from __future__ import annotations

import importlib.util
import io
import json
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import jsonschema
import pytest
import yaml

from interlock.common.plan import StepKind, parse_plan

ROOT = Path(__file__).resolve().parents[2]
PLAN = ROOT / "examples/demo/plan.yaml"
Change = Callable[[tarfile.TarInfo], None]


@pytest.fixture(scope="module")
def library() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "fetch_demo_library", ROOT / "scripts/fetch_demo_library.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def archive(*members: tuple[str, bytes], change: Change = lambda member: None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.uid = len(content), 0o4777, 1001
            change(member)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def link_to(target: str, kind: bytes) -> Change:
    def change(member: tarfile.TarInfo) -> None:
        member.type, member.linkname, member.size = kind, target, 0

    return change


def test_the_plan_uses_every_kind_and_is_valid() -> None:
    plan = parse_plan(PLAN.read_bytes())
    assert {step.kind for step in plan.steps} == set(StepKind)
    schema = json.loads((ROOT / "docs/plan.schema.json").read_text())
    jsonschema.validate(yaml.safe_load(PLAN.read_text()), schema)


def test_the_plan_edits_with_tests_and_runs_the_suite_before_and_after() -> None:
    steps = yaml.safe_load(PLAN.read_text())["steps"]
    kinds = [next(key for key in step if key in {kind.value for kind in StepKind}) for step in steps]
    suites = [
        i for i, step in enumerate(steps) if "unittest" in str(step.get("run_command", {}).get("command"))
    ]
    edits = [i for i, kind in enumerate(kinds) if kind == "edit_file"]
    assert len(suites) == 2
    assert suites[0] < min(edits) <= max(edits) < suites[1]
    assert any("test_" in steps[i]["edit_file"]["path"] for i in edits)
    assert any(
        step.get("gate") == "effect" and kind == "run_command"
        for step, kind in zip(steps, kinds, strict=True)
    )


def test_unpacking_drops_the_top_directory_and_foreign_modes(library: ModuleType, tmp_path: Path) -> None:
    content = archive((f"{library.TOP}/a/b.py", b"x = 1\n"))
    library.unpack(content, tmp_path / "out")
    file = tmp_path / "out/a/b.py"
    assert file.read_bytes() == b"x = 1\n"
    assert file.stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize(
    "name", ["/etc/evil", "../evil", "{top}/../../evil", "other/evil", "{top}/../{top}/x", ".", "{top}x/evil"]
)
def test_paths_outside_are_refused(library: ModuleType, tmp_path: Path, name: str) -> None:
    good = (f"{library.TOP}/good.py", b"")
    with pytest.raises(library.FetchError, match="outside"):
        library.unpack(archive(good, (name.format(top=library.TOP), b"evil")), tmp_path / "out")
    assert list(tmp_path.rglob("*.py")) == []
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(library: ModuleType, tmp_path: Path, kind: bytes) -> None:
    content = archive((f"{library.TOP}/x", b""), change=link_to("/etc/passwd", kind))
    with pytest.raises(library.FetchError, match="neither file nor directory"):
        library.unpack(content, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_too_many_and_too_large_are_refused(library: ModuleType, tmp_path: Path) -> None:
    many = archive(*((f"{library.TOP}/{i}", b"") for i in range(library.MAX_MEMBERS + 1)))
    large = archive((f"{library.TOP}/large", b"\0" * (library.MAX_UNPACKED_BYTES + 1)))
    for content in (many, large):
        with pytest.raises(library.FetchError, match="more than expected"):
            library.unpack(content, tmp_path / "out")


def test_a_directory_with_something_in_it_is_left_alone(library: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(library.FetchError, match="not empty"):
        library.unpack(archive((f"{library.TOP}/mine", b"theirs")), tmp_path)
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_download_with_another_hash_is_refused(
    library: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / library.ARCHIVE).write_bytes(b"a damaged cache is not used")
    monkeypatch.setattr(library, "_download", lambda: b"something else")
    with pytest.raises(library.FetchError, match="expected " + library.SHA256):
        library.fetch(tmp_path)


def test_errors_are_sentences(
    library: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "full").write_text("")
    monkeypatch.setattr(library, "_download", lambda: b"")
    monkeypatch.setattr(sys, "argv", ["fetch", str(tmp_path), "--cache", str(tmp_path / "cache")])
    assert library.main() == 1
    assert capsys.readouterr().err.startswith("fetch: jsonpointer")

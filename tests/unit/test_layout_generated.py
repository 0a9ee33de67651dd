"""gen/ is what protos/ generates, and the contracts keep their promises."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

ROOT = Path(__file__).resolve().parents[2]
PROTO = """syntax = "proto3";
// A package.
package interlock.v1;
// A message.
message Thing {
  // A field.
  string name = 1;
}
"""


@pytest.fixture(scope="module")
def protos() -> ModuleType:
    spec = importlib.util.spec_from_file_location("protos_script", ROOT / "scripts/protos.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "protos/interlock/v1").mkdir(parents=True)
    (tmp_path / "protos/interlock/v1/thing.proto").write_text(PROTO)
    return tmp_path


def run(verb: str, root: Path | None = None) -> subprocess.CompletedProcess[str]:
    where = [] if root is None else ["--protos", str(root / "protos"), "--gen", str(root / "gen")]
    command = [sys.executable, str(ROOT / "scripts/protos.py"), verb, *where]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


def test_gen_is_fresh() -> None:
    finished = run("check")
    assert finished.returncode == 0, finished.stderr


def test_generation_is_repeatable_and_noticed_when_stale(root: Path) -> None:
    assert run("generate", root).returncode == 0
    assert run("check", root).returncode == 0
    generated = root / "gen/interlock/v1/thing_pb2.py"
    generated.write_text(generated.read_text() + "# touched\n")
    (root / "gen/interlock/v1/gone_pb2.py").write_text("")
    finished = run("check", root)
    assert finished.returncode == 1
    assert "stale" in finished.stderr
    assert "gone_pb2.py" in finished.stderr
    assert run("generate", root).returncode == 0
    assert run("check", root).returncode == 0
    assert not (root / "gen/interlock/v1/gone_pb2.py").exists()


def test_only_files_with_services_get_service_modules(root: Path) -> None:
    assert run("generate", root).returncode == 0
    assert {p.name for p in (root / "gen/interlock/v1").iterdir()} == {
        "__init__.py",
        "descriptions.json",
        "py.typed",
        "thing_pb2.py",
        "thing_pb2.pyi",
    }


def test_lint_wants_comments(root: Path) -> None:
    assert run("lint", root).returncode == 0
    proto = root / "protos/interlock/v1/thing.proto"
    proto.write_text(PROTO.replace("  // A field.\n", ""))
    finished = run("lint", root)
    assert finished.returncode == 1
    assert 'Field "name" should have a non-empty comment' in finished.stdout


def test_a_broken_proto_is_an_error(root: Path) -> None:
    (root / "protos/interlock/v1/thing.proto").write_text("message {")
    assert run("generate", root).returncode != 0
    assert not (root / "gen").exists()


def test_no_protos_is_said(tmp_path: Path) -> None:
    finished = run("generate", tmp_path)
    assert finished.returncode == 1
    assert "no interlock/v1/*.proto" in finished.stderr


def test_the_baseline_is_whole_and_has_no_comments(protos: ModuleType) -> None:
    image = FileDescriptorSet.FromString(protos.BASELINE.read_bytes())
    assert {"interlock/v1/orchestrator.proto", "buf/validate/validate.proto"} <= {f.name for f in image.file}
    assert not any(f.HasField("source_code_info") for f in image.file)


def test_a_breaking_change_is_found(root: Path) -> None:
    baseline, image = root / "baseline.binpb", root / "image.binpb"
    old = FileDescriptorSet()
    old.file.add(name="interlock/v1/thing.proto", package="interlock.v1", syntax="proto3")
    message = old.file[0].message_type.add(name="Thing")
    message.field.add(name="name", number=1, label="LABEL_OPTIONAL", type="TYPE_STRING", json_name="name")
    baseline.write_bytes(old.SerializeToString())
    message.field[0].type = message.field[0].TYPE_INT64
    image.write_bytes(old.SerializeToString())
    buf = Path(sys.executable).parent / "buf"
    command = [
        buf,
        "breaking",
        image,
        "--path",
        "interlock/v1",
        "--config",
        ROOT / "buf.yaml",
        "--against",
        baseline,
    ]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root, timeout=60)
    assert finished.returncode == 100
    assert "changed type" in finished.stdout

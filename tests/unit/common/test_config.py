from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interlock.common import config
from interlock.common.errors import InterlockError, Reason


def raised(call: Callable[[], object]) -> InterlockError:
    with pytest.raises(InterlockError) as caught:
        call()
    return caught.value


class TestVariables:
    def test_default_when_unset_or_empty(self) -> None:
        env = {"A": "", "B": "  "}
        assert config.env_text("A", "x", env) == "x"
        assert config.env_int("B", 3, env=env) == 3
        assert config.env_float("C", 0.5, env=env) == 0.5
        assert config.env_bool("A", True, env) is True
        assert config.env_list("A", ("x",), env) == ("x",)
        assert config.env_path("A", Path("/x"), env) == Path("/x")

    def test_values(self) -> None:
        env = {"I": " 42 ", "F": "2.5", "L": "a, b,,c ", "P": "/tmp/x", "Y": "YES", "N": "off"}
        assert config.env_int("I", 0, minimum=42, maximum=42, env=env) == 42
        assert config.env_float("F", 0, env=env) == 2.5
        assert config.env_list("L", env=env) == ("a", "b", "c")
        assert config.env_path("P", Path("/"), env) == Path("/tmp/x")
        assert config.env_bool("Y", False, env) is True
        assert config.env_bool("N", True, env) is False

    def test_home_is_expanded(self) -> None:
        assert config.env_path("P", Path("/"), {"P": "~/x"}) == Path.home() / "x"

    @pytest.mark.parametrize(
        ("read", "value"),
        [
            (lambda env: config.env_int("V", 0, env=env), "many"),
            (lambda env: config.env_int("V", 0, env=env), "1.5"),
            (lambda env: config.env_int("V", 0, minimum=1, env=env), "0"),
            (lambda env: config.env_int("V", 0, maximum=9, env=env), "10"),
            (lambda env: config.env_float("V", 0, env=env), "nan"),
            (lambda env: config.env_float("V", 0, env=env), "inf"),
            (lambda env: config.env_float("V", 0, env=env), "soon"),
            (lambda env: config.env_float("V", 0, minimum=0, env=env), "-0.1"),
            (lambda env: config.env_bool("V", False, env=env), "maybe"),
            (lambda env: config.env_path("V", Path("/"), env=env), "relative/path"),
        ],
    )
    def test_bad_value_names_the_variable(self, read: Callable[[Any], object], value: str) -> None:
        error = raised(lambda: read({"V": value}))
        assert error.reason is Reason.INVALID_ARGUMENT
        assert error.field == "V"
        assert str(error).startswith("V must be ")
        assert value in str(error)


class TestDirectories:
    def test_data_dir_order(self) -> None:
        assert config.data_dir({"INTERLOCK_DATA_DIR": "/d", "XDG_DATA_HOME": "/x"}) == Path("/d")
        assert config.data_dir({"XDG_DATA_HOME": "/x"}) == Path("/x/interlock")
        assert config.data_dir({"XDG_DATA_HOME": "relative"}) == Path.home() / ".local/share/interlock"

    def test_executor_dir_of_an_ordinary_user(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        assert config.executor_dir({"INTERLOCK_DATA_DIR": "/d"}) == Path("/d/executor")

    def test_executor_dir_of_root_is_one_per_data_dir(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        one, two = (config.executor_dir({"INTERLOCK_DATA_DIR": d}) for d in ("/d", "/e"))
        # First 12 hex digits of sha256("/d").
        assert one == Path("/var/lib/interlock/4823e769dbaf/executor")
        assert one != two

    def test_executor_dir_can_be_given(self) -> None:
        assert config.executor_dir({"INTERLOCK_EXECUTOR_DIR": "/x"}) == Path("/x")

    def test_service_addresses(self) -> None:
        assert str(config.service_address("planner", {})) == "127.0.0.1:7403"
        env = {"INTERLOCK_APPROVAL_ADDRESS": "unix:/tmp/a"}
        assert str(config.service_address("approval", env)) == "unix:/tmp/a"
        error = raised(lambda: config.service_address("executor", {"INTERLOCK_EXECUTOR_ADDRESS": "x"}))
        assert error.field == "INTERLOCK_EXECUTOR_ADDRESS"


class TestToken:
    def test_made_once_and_private(self, tmp_path: Path) -> None:
        env = {"INTERLOCK_DATA_DIR": str(tmp_path / "data")}
        token = config.load_token(env=env)
        assert len(token) >= 40
        assert config.load_token(env=env) == token
        assert config.load_token(create=False, env=env) == token
        file = tmp_path / "data" / "token"
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.parent.stat().st_mode & 0o777 == 0o700
        assert [path.name for path in file.parent.iterdir()] == ["token"]

    def test_two_data_dirs_have_two_tokens(self, tmp_path: Path) -> None:
        made = {config.load_token(env={"INTERLOCK_DATA_DIR": str(tmp_path / name)}) for name in "ab"}
        assert len(made) == 2

    def test_variable_wins(self, tmp_path: Path) -> None:
        env = {"INTERLOCK_DATA_DIR": str(tmp_path / "data"), "INTERLOCK_TOKEN": "given"}
        assert config.load_token(env=env) == "given"
        assert not (tmp_path / "data").exists()

    def test_missing_and_not_to_be_made(self, tmp_path: Path) -> None:
        env = {"INTERLOCK_DATA_DIR": str(tmp_path / "data")}
        error = raised(lambda: config.load_token(create=False, env=env))
        assert error.reason is Reason.UNAUTHENTICATED
        assert not (tmp_path / "data").exists()

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
    def test_readable_by_others_is_refused(self, tmp_path: Path, mode: int) -> None:
        env = {"INTERLOCK_DATA_DIR": str(tmp_path)}
        config.load_token(env=env)
        (tmp_path / "token").chmod(mode)
        error = raised(lambda: config.load_token(env=env))
        assert error.reason is Reason.PERMISSION_DENIED
        assert "chmod 600" in error.fix

    @pytest.mark.parametrize("content", ["", "\n", "two words", "ümlaut", "a\x00b", "x" * 5000])
    def test_unusable_content_is_refused_and_not_shown(self, tmp_path: Path, content: str) -> None:
        file = tmp_path / "token"
        file.write_text(content)
        file.chmod(0o600)
        error = raised(lambda: config.load_token(env={"INTERLOCK_DATA_DIR": str(tmp_path)}))
        assert error.reason is Reason.INVALID_ARGUMENT
        assert not content.strip() or content.strip() not in str(error)

    def test_data_dir_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        error = raised(lambda: config.load_token(env={"INTERLOCK_DATA_DIR": str(tmp_path / "file" / "data")}))
        assert error.reason is Reason.PERMISSION_DENIED
        assert error.field == "INTERLOCK_DATA_DIR"

    def test_processes_that_start_together_agree(self, tmp_path: Path) -> None:
        code = "from interlock.common.config import load_token; print(load_token())"
        environment = {
            **os.environ,
            "INTERLOCK_DATA_DIR": str(tmp_path / "data"),
            "PYTHONPATH": ":".join(sys.path),
        }
        children = [
            subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
            for _ in range(6)
        ]
        tokens = {child.communicate(timeout=60)[0] for child in children}
        assert len(tokens) == 1
        assert tokens != {""}

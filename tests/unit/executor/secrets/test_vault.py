"""Where values come from, what is done with them in the process, and that nothing shows them by accident."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.executor.config import ExecutorConfig
from interlock.executor.domain.model import SecretUse
from interlock.executor.secrets import memory
from interlock.executor.secrets.opened import NONE
from interlock.executor.secrets.vault import Vault, variable_of

VALUE = "correct horse battery staple"


def use(name: str, place: str = "T") -> SecretUse:
    return SecretUse(name, place)


def test_variables_are_taken_out_of_the_environment() -> None:
    env = {"INTERLOCK_SECRET_DEPLOY_TOKEN": VALUE, "INTERLOCK_SECRETS_DIR": "/nowhere", "OTHER": "stays"}
    vault = Vault.from_env(env)
    assert env == {"INTERLOCK_SECRETS_DIR": "/nowhere", "OTHER": "stays"}
    assert vault.open([use("deploy-token")]).variables() == {"T": VALUE}
    assert vault.open([use("deploy.token")]).variables() == {"T": VALUE}
    assert vault.directories == (Path("/nowhere"),)


def test_the_process_takes_them_out_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INTERLOCK_SECRET_X", VALUE)
    monkeypatch.setenv("INTERLOCK_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("INTERLOCK_SECRETS_DIR", str(tmp_path / "secrets"))
    config = ExecutorConfig.from_env()
    assert "INTERLOCK_SECRET_X" not in os.environ
    assert subprocess.run(["env"], capture_output=True, text=True, check=True).stdout.count(VALUE) == 0
    assert config.vault.open([use("x")]).variables() == {"T": VALUE}
    assert tmp_path / "secrets" in config.closed
    assert VALUE not in repr(config)


def test_files_are_read_anew_and_lose_one_line_break(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.touch(mode=0o640)
    vault = Vault(tmp_path)
    for content, value in (
        (VALUE + "\n", VALUE),
        ("12345678\r\n", "12345678"),
        ("another\none\n\n", "another\none\n"),
    ):
        path.write_bytes(content.encode())
        assert vault.open([use("token")]).variables() == {"T": value}
    (tmp_path / "link").symlink_to("token")
    assert vault.open([use("link", "/run/secrets/l")]).files() == {"/run/secrets/l": b"another\none\n"}


@pytest.mark.parametrize("name", ["../token", "a/b", ".", "..", "", ".hidden", "x" * 64, "a\0b"])
def test_names_are_no_paths(tmp_path: Path, name: str) -> None:
    (tmp_path / "token").write_text(VALUE)
    (tmp_path / "in").mkdir()
    with pytest.raises(InterlockError) as caught:
        Vault(tmp_path / "in").open([use(name)])
    assert caught.value.reason is Reason.SECRET_NOT_FOUND


def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(InterlockError) as caught:
        Vault(tmp_path).open([use("pipe")])
    assert caught.value.reason is Reason.SECRET_UNUSABLE


def test_nothing_shows_a_value_by_accident() -> None:
    vault = Vault(None, {variable_of("x"): VALUE})
    opened = vault.open([use("x")])
    for shown in (repr(opened), str(opened), repr(vault), repr(opened.patterns), repr(opened.redactor())):
        assert VALUE not in shown
    error = opened.error(InterlockError(Reason.INTERNAL, f"at {VALUE}", metadata={"path": f"a/{VALUE}"}))
    assert (error.message, error.metadata) == ("at [secret:x]", {"path": "a/[secret:x]"})


def test_lines_of_logs_are_cleaned_of_what_was_opened() -> None:
    vault = Vault(None, {variable_of(f"n{number}"): f"{VALUE} {number}" for number in range(40)})
    line = f'{{"event": "it is {VALUE} 7"}}'
    assert vault.clean(line) == line
    vault.open([use("n7")])
    assert vault.clean(line) == '{"event": "it is [secret:n7]"}'
    for number in range(40):
        vault.open([use(f"n{number}")])
    assert len(vault._recent) == 32


def test_without_secrets_nothing_is_looked_at() -> None:
    assert Vault().open([]) is NONE
    assert not NONE
    assert NONE.text("x") == "x"


def test_memory_and_environment_are_closed_to_processes_of_the_same_user() -> None:
    """Tried as another user than root, who may do everything."""
    source = (
        Path(memory.__file__).read_text()
        + "\nimport sys\nkeep_memory_private()\nprint('ready', flush=True)\ninput()"
    )
    other = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    process = subprocess.Popen(
        ["/usr/bin/python3", "-I", "-c", source],
        env={"MARK": VALUE}, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **other,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    look = subprocess.run(
        ["/bin/cat", f"/proc/{process.pid}/environ"],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        **other,
    )
    process.communicate("\n")
    assert process.returncode == 0
    assert look.returncode == 1
    assert VALUE not in look.stdout
    assert "Permission denied" in look.stderr

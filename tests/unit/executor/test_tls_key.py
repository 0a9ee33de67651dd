"""The key that makes this process the executor is no part of anybody's workspace."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.common.tls import TlsFiles
from interlock.executor.config import ExecutorConfig
from interlock.executor.workspaces.livedir import check_directory


def test_no_workspace_holds_the_key(tmp_path: Path) -> None:
    home, project = tmp_path / "home", tmp_path / "home" / "project"
    project.mkdir(parents=True)
    files = TlsFiles.within(home, "executor")
    for path in (files.cert, files.key, files.ca):
        path.write_text("x")
    env = {"INTERLOCK_DATA_DIR": str(tmp_path / "data"), **files.environment()}
    closed = ExecutorConfig.from_env(env).closed
    with pytest.raises(InterlockError) as caught:
        check_directory(home, closed, [])
    assert caught.value.reason is Reason.WORKSPACE_SOURCE_INVALID
    assert check_directory(project, closed, []) == project

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from interlock.common.errors import InterlockError, Reason
from interlock.common.postgres import EmbeddedPostgres
from interlock.common.postgres.guard import server_pid
from interlock.common.postgres.locks import FileLock

_USER = """
import sys
from pathlib import Path
from interlock.common.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
sys.stdin.read()
print(server.stop(), flush=True)
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="interlock-emb-") as path:
        os.chmod(path, 0o711)
        yield Path(path) / "pg"


def ask(server: EmbeddedPostgres, query: str) -> object:
    with psycopg.connect(server.url.replace("+psycopg", ""), autocommit=True) as connection:
        cursor = connection.execute(query)
        return cursor.fetchone()[0] if cursor.description else None  # type: ignore[index]


def user(directory: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _USER, str(directory)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_is_written_survives_a_stop(directory: Path) -> None:
    with EmbeddedPostgres(directory) as server:
        ask(server, "CREATE TABLE kept (n int)")
        assert ask(server, "SHOW fsync") == "on"
        assert ask(server, "SHOW listen_addresses") == ""
        assert int(str(ask(server, "SHOW server_version_num"))) >= 180000
    assert server.pid is None
    with server:
        assert ask(server, "SELECT count(*) FROM kept") == 0
    assert server_pid(directory / "data") is None


def test_only_the_owner_can_reach_it(directory: Path) -> None:
    with EmbeddedPostgres(directory):
        for private in ("data", "socket"):
            assert (directory / private).stat().st_mode & 0o077 == 0
        if os.geteuid() == 0:
            assert (directory / "data").stat().st_uid != 0


def test_processes_share_it_and_the_last_one_stops_it(directory: Path) -> None:
    """Two starters at once on an empty directory: one cluster, one server."""
    users = [user(directory), user(directory)]
    pids = {process.stdout.readline() for process in users if process.stdout}
    assert len(pids) == 1
    outputs = [process.communicate("")[0].strip() for process in users]
    assert outputs == ["False", "True"]
    assert server_pid(directory / "data") is None


def test_it_ends_when_its_only_user_is_killed(directory: Path) -> None:
    process = user(directory)
    assert process.stdout
    assert process.stdin
    pid = int(process.stdout.readline())
    assert server_pid(directory / "data") == pid
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()
    eventually(lambda: server_pid(directory / "data") is None)
    with FileLock(directory / "guard.lock") as guard:
        guard.acquire(30)  # the process that saw to it has gone as well
    with EmbeddedPostgres(directory) as server:
        assert ask(server, "SELECT 1") == 1


def test_it_lives_on_for_others_when_its_starter_is_killed(directory: Path) -> None:
    process = user(directory)
    assert process.stdout
    assert process.stdin
    pid = int(process.stdout.readline())
    with EmbeddedPostgres(directory) as server:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
        assert server.pid == pid
        assert ask(server, "SELECT 1") == 1
    assert server.pid is None


def test_a_killed_server_recovers_on_the_next_start(directory: Path) -> None:
    with EmbeddedPostgres(directory) as server:
        ask(server, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
        for _ in range(2):
            pid = server.pid
            assert pid
            os.kill(pid, signal.SIGKILL)
            eventually(lambda: server.pid is None)
            server.start()
            assert server.pid != pid
            assert ask(server, "SELECT count(*) FROM kept") == 1000


def test_a_stale_pid_file_that_names_another_program_is_no_obstacle(directory: Path) -> None:
    with EmbeddedPostgres(directory) as server:
        lines = (directory / "data" / "postmaster.pid").read_text().splitlines()
        pid = server.pid
        assert pid
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: server.pid is None)
        lines[0] = str(os.getpid())
        (directory / "data" / "postmaster.pid").write_text("\n".join(lines) + "\n")
        assert server.pid is None
        server.start()
        assert ask(server, "SELECT 1") == 1


def test_a_half_made_cluster_is_made_anew(directory: Path) -> None:
    (directory / "data.new" / "base").mkdir(parents=True)
    with EmbeddedPostgres(directory) as server:
        assert ask(server, "SELECT 1") == 1
    assert not (directory / "data.new").exists()


def test_a_long_path_gets_a_short_socket(directory: Path) -> None:
    deep = directory.parent / ("d" * 100)
    with EmbeddedPostgres(deep) as server:
        assert ask(server, "SELECT 1") == 1
        socket = server._socket_dir()
        assert socket.stat().st_mode & 0o077 == 0
    assert not list(socket.glob(".s.*"))
    socket.rmdir()


def test_another_releases_cluster_is_refused(directory: Path) -> None:
    server = EmbeddedPostgres(directory)
    server.start()
    (directory / "data" / "PG_VERSION").write_text("16\n")
    pid = server.pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: server.pid is None)
    with pytest.raises(InterlockError, match="PostgreSQL 16") as caught:
        server.start()
    assert caught.value.reason is Reason.DATABASE_UNAVAILABLE
    assert server.stop()


def test_a_server_that_cannot_start_says_why(directory: Path) -> None:
    with pytest.raises(InterlockError, match="no_such_setting") as caught:
        EmbeddedPostgres(directory, {"no_such_setting": "1"}).start()
    assert "INTERLOCK_DATABASE_URL" in caught.value.fix
    with EmbeddedPostgres(directory) as server:
        assert ask(server, "SELECT 1") == 1


def test_a_file_in_the_way_is_named(directory: Path) -> None:
    directory.write_text("not a directory")
    with pytest.raises(InterlockError, match=str(directory)):
        EmbeddedPostgres(directory).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as another uid")
def test_a_closed_directory_above_is_named(directory: Path) -> None:
    directory.parent.chmod(0o700)
    with pytest.raises(InterlockError, match=f"cannot enter {directory.parent}"):
        EmbeddedPostgres(directory).start()

"""Configuration from the environment: directories, the local token, addresses, and typed variables.

Every helper raises InterlockError(INVALID_ARGUMENT) whose `field` is the variable at fault.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from interlock.common.addresses import DEFAULT_PORTS, Address, parse_address
from interlock.common.errors import InterlockError, Reason

__all__ = [
    "DEFAULT_PORTS",
    "Address",
    "data_dir",
    "env_bool",
    "env_float",
    "env_int",
    "env_list",
    "env_path",
    "env_text",
    "executor_dir",
    "kept_secret",
    "load_token",
    "parse_address",
    "service_address",
]

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_MAX_TOKEN = 4096

Env = Mapping[str, str]


def env_text(name: str, default: str = "", env: Env | None = None) -> str:
    """The variable's value without surrounding spaces; `default` when unset or empty."""
    value = (os.environ if env is None else env).get(name, "").strip()
    return value or default


def env_int(
    name: str, default: int, *, minimum: int | None = None, maximum: int | None = None, env: Env | None = None
) -> int:
    """A decimal integer within bounds (inclusive)."""
    text = env_text(name, env=env)
    if not text:
        return default
    try:
        value = int(text)
    except ValueError:
        raise bad_variable(name, text, "a whole number") from None
    _check_bounds(name, text, value, minimum, maximum)
    return value


def env_float(
    name: str,
    default: float,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    env: Env | None = None,
) -> float:
    """A finite decimal number within bounds (inclusive); used for seconds."""
    text = env_text(name, env=env)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        raise bad_variable(name, text, "a number") from None
    if value != value or value in (float("inf"), float("-inf")):
        raise bad_variable(name, text, "a finite number")
    _check_bounds(name, text, value, minimum, maximum)
    return value


def env_bool(name: str, default: bool, env: Env | None = None) -> bool:
    """1, true, yes, on or 0, false, no, off, in any case."""
    text = env_text(name, env=env).lower()
    if not text:
        return default
    if text not in _TRUE | _FALSE:
        raise bad_variable(name, text, "true or false")
    return text in _TRUE


def env_path(name: str, default: Path, env: Env | None = None) -> Path:
    """An absolute path; `~` is expanded, a relative one is refused because services run from anywhere."""
    text = env_text(name, env=env)
    if not text:
        return default
    path = Path(text).expanduser()
    if not path.is_absolute():
        raise bad_variable(name, text, "an absolute path")
    return path


def env_list(name: str, default: tuple[str, ...] = (), env: Env | None = None) -> tuple[str, ...]:
    """Comma-separated values, without spaces around them and without empty ones."""
    text = env_text(name, env=env)
    return tuple(part for raw in text.split(",") if (part := raw.strip())) if text else default


def data_dir(env: Env | None = None) -> Path:
    """`INTERLOCK_DATA_DIR`, else `$XDG_DATA_HOME/interlock`, else `~/.local/share/interlock`. Not created.

    Raises INVALID_ARGUMENT where nothing is set and the user has no home.
    """
    if env_text("INTERLOCK_DATA_DIR", env=env):
        return env_path("INTERLOCK_DATA_DIR", Path("/"), env)
    base = env_text("XDG_DATA_HOME", env=env)
    # The XDG specification: a relative value is invalid and ignored.
    home = Path(base) if base and Path(base).is_absolute() else _home() / ".local" / "share"
    return home / "interlock"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"There is no default data directory: HOME is not set, and uid {os.getuid()} has no entry in /etc/passwd.",
            field="INTERLOCK_DATA_DIR",
            fix="Set INTERLOCK_DATA_DIR (or --data-dir) to a directory that this user can write.",
        ) from None


def executor_dir(env: Env | None = None) -> Path:
    """`INTERLOCK_EXECUTOR_DIR`, else `<data>/executor`, else for root a place the step's uid can traverse.

    Root's home is closed to other users, so root's default is
    `/var/lib/interlock/<first 12 hex of sha256(data dir path)>/executor`. Not created.
    """
    data = data_dir(env)
    if os.geteuid() == 0:
        tag = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
        return env_path("INTERLOCK_EXECUTOR_DIR", Path("/var/lib/interlock") / tag / "executor", env)
    return env_path("INTERLOCK_EXECUTOR_DIR", data / "executor", env)


def service_address(service: str, env: Env | None = None) -> Address:
    """`INTERLOCK_<SERVICE>_ADDRESS`, else the service's default port on 127.0.0.1."""
    name = f"INTERLOCK_{service.upper()}_ADDRESS"
    return parse_address(env_text(name, f"127.0.0.1:{DEFAULT_PORTS[service]}", env), field=name)


def load_token(create: bool = True, env: Env | None = None) -> str:
    """The bearer token shared by the local services: `INTERLOCK_TOKEN`, else the file `<data>/token`.

    With `create`, a missing file is made with a random token, mode 0600, atomically: several processes that
    start at once all get the same token. Raises UNAUTHENTICATED when there is none and `create` is false, and
    PERMISSION_DENIED when other users could read the file.
    """
    if given := env_text("INTERLOCK_TOKEN", env=env):
        return _checked_token(given, "INTERLOCK_TOKEN")
    path = data_dir(env) / "token"
    token = kept_secret(path, (lambda: secrets.token_urlsafe(32)) if create else None)
    if token is None:
        raise InterlockError(
            Reason.UNAUTHENTICATED,
            f"There is no token in {path}.",
            field="INTERLOCK_TOKEN",
            fix="Start the services once (`interlock up`), or set INTERLOCK_TOKEN.",
        )
    return _checked_token(token, str(path))


def kept_secret(path: Path, make: Callable[[], str] | None = None) -> str | None:
    """The text of a file that its owner alone can read; None when there is none.

    With `make`, a missing file is made with what it returns, mode 0600, atomically: several processes that start at
    once all get the same. Raises PERMISSION_DENIED when it cannot be made or read, or other users could read it.
    """
    if make is not None and not path.exists():
        _create_private(path, make())
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InterlockError(Reason.PERMISSION_DENIED, f"Cannot read {path}: {error.strerror}.") from None
    with os.fdopen(fd, "r", encoding="utf-8", errors="replace") as file:
        if stat.S_IMODE(os.fstat(fd).st_mode) & 0o077:
            raise InterlockError(
                Reason.PERMISSION_DENIED, f"Other users can read {path}.", fix=f"Run `chmod 600 {path}`."
            )
        return file.read(_MAX_TOKEN + 1).strip()


def bad_variable(name: str, value: str, wanted: str) -> InterlockError:
    """The error for an environment variable that does not hold what it must."""
    return InterlockError(
        Reason.INVALID_ARGUMENT,
        f"{name} must be {wanted}, not {value[:80]!r}.",
        field=name,
        fix=f"Correct {name} or unset it to get the default.",
    )


def _check_bounds(name: str, text: str, value: float, minimum: float | None, maximum: float | None) -> None:
    if minimum is not None and value < minimum:
        raise bad_variable(name, text, f"at least {minimum}")
    if maximum is not None and value > maximum:
        raise bad_variable(name, text, f"at most {maximum}")


def _checked_token(token: str, source: str) -> str:
    # A token travels in an HTTP/2 header: visible ASCII without spaces.
    if not token or len(token) > _MAX_TOKEN or not all("!" <= char <= "~" for char in token):
        raise InterlockError(
            Reason.INVALID_ARGUMENT,
            f"The token in {source} is empty, too long, or holds characters that cannot be sent.",
            field=source,
            fix="Use visible ASCII without spaces, or remove it so that a new one is generated.",
        )
    return token


def _create_private(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InterlockError(
            Reason.PERMISSION_DENIED,
            f"Cannot create {path}: {error.strerror}.",
            field="INTERLOCK_DATA_DIR",
            fix="Choose a data directory that this user can write, by INTERLOCK_DATA_DIR.",
        ) from None
    try:
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(fd)
        # link() fails if the name exists, which rename() does not: the first of several processes wins.
        os.link(temporary, path)
    except FileExistsError:
        return
    finally:
        os.unlink(temporary)

"""Cloning a repository with everything switched off by which a repository or a configuration could run code."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from interlock.common.errors import InterlockError, Reason
from interlock.executor.files.names import shown

TIMEOUT_SECONDS: Final = 600
_SCHEMES: Final = ("https", "http", "ssh", "git", "file")
_SCP = re.compile(r"[A-Za-z0-9_.-]+@[A-Za-z0-9.-]+:[^\s]+")
_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+@-]{0,254}")

# No system or user configuration, no hooks or templates, no helper programs, no submodules, no prompts.
_CONFIG: Final = """[core]
\thooksPath = /dev/null
\tfsmonitor = false
\tautocrlf = false
\taskPass = /bin/false
[safe]
\tdirectory = *
[credential]
\thelper =
[submodule]
\trecurse = false
[protocol]
\tallow = never
[filter "lfs"]
\tsmudge =
\tprocess =
\trequired = false
[gc]
\tauto = 0
"""


def clone(url: str, ref: str, destination: Path, *, timeout: float = TIMEOUT_SECONDS) -> None:
    """Clone `url` (branch or tag `ref`, or its default) into the empty directory `destination`.

    Raises WORKSPACE_SOURCE_INVALID with git's own last words, or when `timeout` seconds were not enough.
    """
    _check(url, ref)
    with tempfile.TemporaryDirectory(prefix="interlock-git-") as home:
        config = Path(home, "config")
        allowed = "".join(f'[protocol "{s}"]\n\tallow = always\n' for s in _SCHEMES)
        address, secret = _apart(url)
        config.write_text(_CONFIG + allowed + secret)
        argv = ["git", "clone", "--quiet", "--no-hardlinks", "--no-recurse-submodules", "--template="]
        if ref:
            argv += ["--branch", ref]
        _run([*argv, "--", address, str(destination)], _environment(home, config), url, timeout)


def _apart(url: str) -> tuple[str, str]:
    """An address without credentials, and the configuration with which git uses them all the same.

    So they are in no argument list, and not in the clone's own configuration, which steps can read.
    """
    plain = without_credentials(url)
    if plain == url or not url.lower().startswith("http"):
        return url, ""
    quoted = url.replace("\\", "\\\\").replace('"', '\\"')
    return plain, f'[url "{quoted}"]\n\tinsteadOf = {json.dumps(plain, ensure_ascii=False)}\n'


def without_credentials(url: str) -> str:
    """The URL without a user name or password in front of the host."""
    return re.sub(r"^([A-Za-z][A-Za-z0-9+.-]*://)[^/]*@", r"\1", url)


def _check(url: str, ref: str) -> None:
    scheme, mark, _ = url.partition("://")
    plain = "\0" not in url and "\n" not in url and not url.startswith("-")
    known = scheme in _SCHEMES if mark else (url.startswith("/") or _SCP.fullmatch(url) is not None)
    if not plain or not known or "::" in url.partition("/")[0]:
        raise _invalid(
            f"{shown(without_credentials(url))} is not a repository this service clones.",
            "Give an https, http, ssh, git or file URL, user@host:path, or an absolute path.",
        )
    if ref and (not _REF.fullmatch(ref) or ".." in ref):
        raise _invalid(f"{shown(ref)} is not the name of a branch or tag.", "Check the name.")


def _environment(home: str, config: Path) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": home,
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": str(config),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "/bin/false",
        "SSH_ASKPASS": "/bin/false",
        "GIT_SSH_COMMAND": "ssh -oBatchMode=yes -oConnectTimeout=20",
        "GIT_LFS_SKIP_SMUDGE": "1",
        **{key: os.environ[key] for key in _PASSED_ON if key in os.environ},
    }


_PASSED_ON: Final = (
    "SSH_AUTH_SOCK",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "https_proxy",
    "http_proxy",
    "no_proxy",
)


def _run(argv: list[str], environment: dict[str, str], url: str, timeout: float) -> None:
    shown_url = shown(without_credentials(url))
    try:
        process = subprocess.Popen(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise _invalid("There is no git on this machine.", "Install git, or import a directory.") from None
    with process:
        try:
            _, said = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise _invalid(
                f"Cloning {shown_url} took longer than {timeout:.0f} seconds.",
                "Clone it yourself and import the directory.",
            ) from None
    if process.returncode != 0:
        words = said.decode("utf-8", "replace").strip().splitlines()
        last = without_url_secrets(words[-1]) if words else f"git ended with {process.returncode}"
        raise _invalid(
            f"Cloning {shown_url} failed: {shown(last)}.", "Check the address and your access to it."
        )


def without_url_secrets(text: str) -> str:
    """Text in which no URL carries a user name or password."""
    return re.sub(r"([A-Za-z][A-Za-z0-9+.-]*://)[^/\s']*@", r"\1", text)


def _invalid(message: str, fix: str) -> InterlockError:
    return InterlockError(Reason.WORKSPACE_SOURCE_INVALID, message, field="source", fix=fix)

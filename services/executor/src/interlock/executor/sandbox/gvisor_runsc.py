"""Finding gVisor's runsc, and how it is called."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from interlock.common.errors import InterlockError, Reason
from interlock.executor.sandbox.confinement import Confinement

_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LINKS: Final = ("bin", "sbin", "lib", "lib32", "lib64")
_PLACE: Final = "/runsc"
_OLDEST: Final = 20240729  # of those that were tried; the one of 20221219 answers what `ls` asks with EINVAL
FIX: Final = (
    "Install runsc 20240729 or newer (Debian 13: apt-get install runsc; the one of Debian 12 is too old) or name it by "
    "INTERLOCK_RUNSC, and run the executor as root (its steps are not)."
)


@dataclass(frozen=True, slots=True)
class Runsc:
    """A runsc that runs."""

    path: str
    version: str
    fix: str = FIX

    def command(self, log: int) -> tuple[str, ...]:
        """What bubblewrap starts: runsc as root of the user namespace, writing its messages to `log`."""
        # Not `--rootless`: that makes a user namespace of its own, with one uid only.
        become = ("/usr/bin/setpriv", "--reuid=0", "--regid=0", "--clear-groups", "--")
        how = ("--root=/state", "--platform=systrap", "--network=none", "--ignore-cgroups", "--oci-seccomp")
        walls = ("--host-uds=none", "--host-fifo=none", "--overlay2=none", f"--log-fd={log}")
        return (*become, _PLACE, *how, *walls, "run", "--bundle=/bundle", "step")

    def system(self, binary: int) -> list[str]:
        """What runsc itself sees, as bubblewrap's options. `binary`: a descriptor of it."""
        options = ["--ro-bind", "/usr", "/usr"]
        for name in _LINKS:
            if os.path.isdir(f"/usr/{name}"):
                options += ["--symlink", f"usr/{name}", f"/{name}"]
            elif os.path.isdir(f"/{name}"):
                options += ["--ro-bind", f"/{name}", f"/{name}"]
        # Its /proc has no mount above it: from such a one no other can be made.
        options += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108 - inside the sandbox
        return [*options, "--dir", "/state", "--dir", "/bundle", "--ro-bind-fd", str(binary), _PLACE]


def find_runsc(confinement: Confinement) -> Runsc:
    """INTERLOCK_RUNSC, else the one that is installed. Raises InterlockError(SANDBOX_UNAVAILABLE)."""
    if not confinement.identity.switch:
        raise _unavailable("The gvisor sandbox needs an executor that is run by root (its steps are not).")
    path = confinement.runsc or shutil.which("runsc", path=_PATH)
    if not path or not os.access(path, os.X_OK) or not Path(path).is_absolute():
        raise _unavailable(f"gVisor's runsc is not there (looked for {confinement.runsc or 'runsc'}).")
    if not os.access("/usr/bin/setpriv", os.X_OK):
        raise _unavailable("setpriv (package util-linux) is not installed.")
    try:
        done = subprocess.run([path, "--version"], capture_output=True, env={}, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        raise _unavailable(f"{path} does not run.") from None
    found = re.search(r"runsc version (\S*?(\d{8})\S*)", done.stdout.decode(errors="replace"))
    if found and int(found[2]) < _OLDEST:
        raise _unavailable(f"{path} is too old: {found[1]}.")
    return Runsc(path, found[1] if found else "of unknown version")


def _unavailable(message: str) -> InterlockError:
    return InterlockError(Reason.SANDBOX_UNAVAILABLE, message, field="INTERLOCK_RUNSC", fix=FIX)

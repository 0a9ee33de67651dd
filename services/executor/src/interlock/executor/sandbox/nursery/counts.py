"""What the kernel counts for a user over all namespaces, bounded for one of them.

A user's instances of inotify, 128 on many machines, are shared by whoever has the uid outside. Limits of a user
namespace (Linux `Documentation/admin-guide/sysctl/user.rst`) are set by whoever is in it with CAP_SYS_RESOURCE there,
as everybody is who has entered it from outside; nobody of a step is.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

INSTANCES: Final = 16
MOST_WATCHES: Final = 8192

_NEW_USER: Final = 0x10000000


def bound_counts(namespace: int) -> None:
    """Enter the user namespace and set its limits. The calling process has one thread, and stays in there.

    A step gets at most an eighth of the watches that a user may have. Raises OSError.
    """
    with open("/proc/sys/fs/inotify/max_user_watches") as file:
        watches = min(MOST_WATCHES, int(file.read()) // 8)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _NEW_USER) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    for name, value in (("instances", INSTANCES), ("watches", watches)):
        with open(f"/proc/sys/user/max_inotify_{name}", "w") as file:
            file.write(str(value))

"""Where the link from the workspace's own path to /workspace may stand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from interlock.executor.sandbox.rootfs import can_alias, top_level

TAKEN = (*top_level(None), "/opt/tools")


@pytest.mark.parametrize(
    "alias", ["/home/me/project", "/tmp/project", "/root/p", "/opt/project", "/srv/a b/ü"]
)
def test_it_stands_where_nothing_else_is(alias: str) -> None:
    assert can_alias(alias, TAKEN)


REFUSED = "/ /usr/src/project /usr /etc/x /proc/self /dev/shm/x /sys/x /workspace /workspace/x /lib/x"
BELOW = "/tmp /tmp/home /tmp/home/x /opt /opt/tools /opt/tools/x /a/../usr/x relative"


@pytest.mark.parametrize("alias", ["", *REFUSED.split(), *BELOW.split()])
def test_it_never_covers_anything(alias: str) -> None:
    assert not can_alias(alias, TAKEN)


def test_a_root_file_system_of_its_own_has_other_places_taken(tmp_path: Path) -> None:
    for name in ("home", "usr", "tmp"):
        os.mkdir(tmp_path / name)
    taken = top_level(tmp_path)
    assert not can_alias("/home/me/project", taken)
    assert can_alias("/tmp/project", taken)
    assert can_alias("/srv/project", taken)

"""Workspaces on disk: import, fork, capture, publish, roll back, read."""

from interlock.executor.snapshots.model import Limits, Owner
from interlock.executor.workspaces.manager import Workspaces
from interlock.executor.workspaces.model import (
    ArchiveSource,
    Capture,
    DirectorySource,
    Drift,
    Fork,
    GitSource,
    Head,
    Node,
    PathChange,
    PublishResult,
    TreeSource,
    Workspace,
)
from interlock.executor.workspaces.parts import Recovered

__all__ = [
    "ArchiveSource",
    "Capture",
    "DirectorySource",
    "Drift",
    "Fork",
    "GitSource",
    "Head",
    "Limits",
    "Node",
    "Owner",
    "PathChange",
    "PublishResult",
    "Recovered",
    "TreeSource",
    "Workspace",
    "Workspaces",
]

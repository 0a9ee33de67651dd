"""What can be wrong with a store, as errors."""

from __future__ import annotations

from pathlib import Path

from interlock.common.digests import digest_bytes
from interlock.common.errors import InterlockError, Reason


def store_full(used: int, incoming: int, cap: int) -> InterlockError:
    """STORE_FULL for the cap."""
    return InterlockError(
        Reason.STORE_FULL,
        f"The executor's store holds {used} bytes and may hold {cap}; {incoming} more do not fit, and nothing in it "
        "may go. Nothing was changed.",
        fix="See `interlock workspace du`; collect with a shorter retention (`interlock workspace gc`), or raise "
        "INTERLOCK_EXECUTOR_STORE_MAX_BYTES and restart the executor. Then try the step again.",
        metadata={
            "limit": "store_max_bytes",
            "allowed": str(cap),
            "measured": str(used),
            "wanted": str(incoming),
        },
    )


def newer(path: Path, found: int, known: int) -> InterlockError:
    """For a file that a later release has changed."""
    return InterlockError(
        Reason.UNAVAILABLE,
        f"{path} has layout {found}; this release knows {known}.",
        fix="Start the release that last used this directory, or a newer one.",
    )


def missing(object_id: bytes) -> InterlockError:
    """TREE_NOT_FOUND for an id that is not in the store."""
    return InterlockError(
        Reason.TREE_NOT_FOUND,
        f"The snapshot store has no object sha256:{object_id.hex()}.",
        field="tree",
        metadata={"object": f"sha256:{object_id.hex()}"},
    )


def damaged(object_id: bytes) -> InterlockError:
    """For bytes that are not what their id says."""
    return InterlockError(
        Reason.EFFECT_TAMPERED,
        f"Object sha256:{object_id.hex()} in the snapshot store is damaged: its bytes do not match its id.",
        fix="Check the disk, and who can write to the executor's directory; `interlock step retry RUN STEP` prepares "
        "the step again.",
        metadata={"object": f"sha256:{object_id.hex()}"},
    )


def lost_object(error: InterlockError) -> bytes | None:
    """The id of the object that an error of the store is about; None for every other error."""
    if error.reason not in (Reason.TREE_NOT_FOUND, Reason.EFFECT_TAMPERED) or "object" not in error.metadata:
        return None
    return digest_bytes(error.metadata["object"])

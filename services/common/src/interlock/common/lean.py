"""structlog as services use it: without rich.

structlog imports rich where it is installed, for a console renderer that no service uses. That takes longer than the
rest of it, at the start of every process. Where rich seems to be absent, structlog does without.
"""

from __future__ import annotations

import sys

_HIDDEN = "rich" not in sys.modules
if _HIDDEN:
    sys.modules["rich"] = None  # type: ignore[assignment]  # an import of it raises ModuleNotFoundError
try:
    import structlog
finally:
    if _HIDDEN:
        del sys.modules["rich"]

__all__ = ["structlog"]

"""What `interlock doctor` looks at: each check tries the real thing and says what to do when it does not work."""

from interlock.cli.doctor.checks import examine
from interlock.cli.doctor.finding import Finding, Level

__all__ = ["Finding", "Level", "examine"]

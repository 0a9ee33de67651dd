"""Verifies exported journals offline. Standard library only: it can be read, copied and run on its own.

python -m interlock.verify bundle.jsonl [--head sha256:…]
"""

from interlock.verify.bundle import Problem, Report, verify_bundle, verify_file

__all__ = ["Problem", "Report", "verify_bundle", "verify_file"]

"""Verifies exported journals offline. Standard library only: it can be read, copied and run on its own.

python -m interlock.verify bundle.jsonl [--head sha256:…]
"""

from interlock.verify.bundle import verify_bundle, verify_file
from interlock.verify.report import Problem, Report

__all__ = ["Problem", "Report", "verify_bundle", "verify_file"]

"""Print the format's JSON Schema, as published in docs/plan.schema.json."""

import sys

from interlock.common.plan.schema import render

if __name__ == "__main__":
    sys.stdout.write(render())

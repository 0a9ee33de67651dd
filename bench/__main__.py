"""`python -m bench [--full] [--only NAME …] [--measure NAME …]`: measures, prints the tables, saves the figures."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from bench import plan, results, table
from bench.cluster import Cluster
from bench.contenders import CONTENDERS

HERE = Path(__file__).resolve().parent


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--full", action="store_true", help="every measure of every engine; about 25 minutes")
    parser.add_argument(
        "--only", action="append", choices=[each.name for each in CONTENDERS], help="only these engines"
    )
    parser.add_argument("--measure", action="append", choices=plan.NAMES, help="only these measures")
    parser.add_argument(
        "--rounds", type=int, help="rounds of throughput at 50 runs (default: 3, with --full 5)"
    )
    parser.add_argument(
        "--output", type=Path, default=HERE / "results" / "latest.json", help="the figures' file"
    )
    return parser.parse_args()


def main() -> int:
    """Exit code 0 when every measure asked for of Interlock itself has figures."""
    given = _arguments()
    began = time.monotonic()
    with Cluster() as cluster:
        gathered = results.Results(cluster.version, full=given.full)
        for line in plan.run(
            cluster, gathered, full=given.full, only=given.only, measures=given.measure, rounds=given.rounds
        ):
            print(f"[{time.monotonic() - began:6.1f} s] {line}", flush=True)
    gathered.seconds = time.monotonic() - began
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(gathered.text())
    print(table.text(gathered))
    print(f"\n{given.output} has the figures; docs/performance.md says what they mean.")
    return 1 if gathered.failed("Interlock") else 0


if __name__ == "__main__":
    sys.exit(main())

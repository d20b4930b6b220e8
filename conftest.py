"""For all tests: the budget of properties; each worker's own databases, when a PostgreSQL was named for the run (see tests/run.py)."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

import pytest
import structlog
from hypothesis import settings

from system.processes import OPTIONAL, SERVICES

if TYPE_CHECKING:
    from xdist.scheduler import LoadFileScheduling

ONE_WORKER: Final = (
    ("services/console/tests/console_browser/",),
    ("tests/integration/test_crash.py", "tests/integration/test_refunds.py", "tests/integration/test_edits.py"),
    ("tests/integration/test_outages.py", "tests/integration/test_delivery.py"),
    ("tests/integration/test_requests.py", "tests/integration/test_marketplace.py"),
)
"""Folders and files that share a fixture that is dear: they stay together on one worker, as the tests of a file do."""

settings.register_profile("unhurried", deadline=None)  # an example takes longer on a busy machine
settings.register_profile("long", max_examples=2000, deadline=None)
settings.load_profile("long" if os.environ.get("HYPOTHESIS_PROFILE") == "long" else "unhurried")

# Short tracebacks in the log of a test: with all locals, as by default, writing one takes longer than some time limits.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)

# These modules assert for the tests that import them: what differs is shown as in a test.
pytest.register_assert_rewrite(
    "fulfillment_database",
    "orders_changed",
    "orders_database",
    "orders_engine",
    "saga_checks",
    "saga_play",
    *(f"tests.integration.{name}" for name in ("order_client", "order_crowd", "shop")),
)

if server := os.environ.get("TRADEWIND_TEST_POSTGRES"):
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    for service in (*SERVICES, *OPTIONAL):
        url = urlunsplit(urlsplit(server)._replace(path=f"/test_{service}_{worker}"))
        # Replaces what a worker inherits from the process that started it: two files of a service run at once.
        os.environ[f"{service.upper()}_TEST_DATABASE_URL"] = url


def pytest_configure() -> None:
    gc.disable()  # to import all modules and to make all tests of them takes a third less, and nothing of it is garbage


def pytest_collection_finish() -> None:
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadFileScheduling | None:
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    assert all((config.rootpath / path).exists() for group in ONE_WORKER for path in group), ONE_WORKER

    class ByFileOrFolder(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            groups = (group[0] for group in ONE_WORKER if nodeid.startswith(group))
            return next(groups, super()._split_scope(nodeid))

    return ByFileOrFolder(config, log)

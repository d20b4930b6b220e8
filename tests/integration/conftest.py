"""A shop per test module: Kafka, PostgreSQL and services, empty at the start, or a store of its own on those of the file before,
when they are the same; one at a time per xdist worker."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

import devservices
from devservices.services import Services
from system.processes import System
from tests.integration.preloaded import Preloaded
from tests.integration.shop import STORE, Options, Shop

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a broker that is down on purpose is no news
LONGEST_FIRST = (
    "test_crash", "test_refunds", "test_edits", "console_browser", "test_demo", "test_feed", "test_schemathesis",
    "test_workers", "test_outages", "test_delivery", "test_poison", "test_webhooks", "test_requests", "test_marketplace",
    "test_restore", "test_order_model", "test_force", "test_failover", "test_webhooks_replays", "test_background",
    "test_changes", "test_dintero", "test_hostile_requests", "test_servers", "test_console_provider", "test_console_pages",
    "test_console_hostile", "test_chassis_timeouts", "test_payments_reconciled", "test_simulation_saga",
)  # fmt: skip
"""The slowest files, and folders whose files share a fixture, started first so that they do not run alone at the end
(tests/run.py uses this order); then the other files of this folder."""
SHARE_WOVEN_IN = 0.85
"""How much of the quick files: the rest is for the end, where nothing slow may begin."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.real)
            item.add_marker(
                pytest.mark.asyncio(loop_scope="module"), append=False
            )  # the shop's clients live in one loop
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        folder = item.path.parent
        files.setdefault(folder if folder.name in LONGEST_FIRST else item.path, []).append(item)
    items[:] = [item for path in in_order(list(files)) for item in files[path]]


def in_order(files: Sequence[Path]) -> list[Path]:
    """Slow files with quick ones between them: a test of the whole system waits half of its time, most others compute."""
    rank = {name: n for n, name in enumerate(LONGEST_FIRST)}
    slow = sorted(
        (path for path in files if path.stem in rank or HERE in path.parents),
        key=lambda path: rank.get(path.stem, len(rank)),
    )
    quick = [path for path in files if path not in slow]
    each = SHARE_WOVEN_IN * len(quick) / max(len(slow), 1)
    ordered: list[Path] = []
    for number, path in enumerate(slow):
        ordered += [path, *quick[round(number * each) : round((number + 1) * each)]]
    return ordered + quick[round(len(slow) * each) :]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Prints the expected duration of `make chaos`."""
    minutes = [mark.kwargs.get("minutes", 1) for item in session.items if (mark := item.get_closest_marker("chaos"))]
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if minutes and reporter is not None:
        reporter.write_line(f"{len(minutes)} chaos tests: about {sum(minutes)} minutes")


def instance_name() -> str:
    """Name of this pytest worker's servers."""
    return f"{os.environ.get('TRADEWIND_TEST_INSTANCE', 'test')}-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"


@pytest.fixture(scope="session")
def preloaded() -> Iterator[Preloaded]:
    with Preloaded() as process:
        yield process


class Started:
    """The servers and services that run for the present file. The next one uses them, if it wants the same processes."""

    def __init__(self, preloaded: Preloaded) -> None:
        self._preloaded = preloaded
        self._stack = contextlib.ExitStack()
        self._options: Options | None = None
        self._parts: tuple[Services, System, Path] | None = None
        self._files = 0

    def shop(self, options: Options, scratch: Path) -> Shop:
        """A store of its own on what runs, or on what is started now. `scratch` is for what is started."""
        if self._parts is None or self._options != options.processes or self._parts[1].ended():
            self.stop()
            servers = self._stack.enter_context(devservices.running(ROOT, name=instance_name(), reset=True))
            system = System(
                ROOT, servers.kafka, servers.postgres, scratch / "logs", names=options.services,
                settings=options.settings, spawn=self._preloaded.spawn,
            )  # fmt: skip
            self._parts = servers, self._stack.enter_context(system), scratch
            self._options = options.processes
        self._files += 1
        servers, system, scratch = self._parts
        return Shop(servers, system, options, scratch, STORE if self._files == 1 else f"{STORE}{self._files}")

    def stop(self) -> None:
        self._parts, self._files = None, 0
        self._stack.close()

    def stop_unless_wanted(self, item: pytest.Item | None) -> None:
        """Called after a file, with the test that follows it."""
        if isinstance(item, pytest.Function) and "started" in item.fixturenames:
            wanted: Options = getattr(item.module, "SHOP", Options())
            if wanted.processes == self._options:
                return
        self.stop()


@pytest.fixture(scope="session")
def started(preloaded: Preloaded) -> Iterator[Started]:
    one = Started(preloaded)
    yield one
    one.stop()


NEXT = pytest.StashKey[pytest.Item | None]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    item.session.stash[NEXT] = nextitem


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, started: Started
) -> AsyncIterator[Shop]:
    """Running, markets and seller set up, ample stock of `SKUS`. A module's `SHOP = Options(...)` shapes it."""
    options: Options = getattr(request.module, "SHOP", Options())
    failed = request.session.testsfailed
    try:
        one = started.shop(options, tmp_path_factory.mktemp(request.module.__name__.rpartition(".")[2]))
        await one.open()
        yield one
        await one.close()
    except BaseException:
        started.stop()
        raise
    # What a failed test leaves behind is no other file's trouble.
    started.stop_unless_wanted(request.session.stash[NEXT] if request.session.testsfailed == failed else None)

"""A shop per test module: its own Kafka and PostgreSQL, empty at the start; one at a time per xdist worker."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

import devservices
from system.processes import System
from tests.integration.preloaded import Preloaded
from tests.integration.shop import Options, Shop

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a broker that is down on purpose is no news
LONGEST_FIRST = (
    "console_browser", "test_schemathesis", "test_workers", "test_outages", "test_demo", "test_feed", "test_refunds",
    "test_crash", "test_webhooks", "test_poison", "test_restore", "test_order_model", "test_edits", "test_force", "test_requests",
    "test_failover", "test_console_hostile", "test_webhooks_replays", "test_background", "test_changes",
    "test_console_pages", "test_dintero", "test_delivery", "test_chassis_timeouts", "test_hostile_requests", "test_servers",
    "test_simulation_saga",
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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, preloaded: Preloaded
) -> AsyncIterator[Shop]:
    """Running, markets and seller set up, ample stock of `SKUS`. A module's `SHOP = Options(...)` shapes it."""
    options: Options = getattr(request.module, "SHOP", Options())
    scratch = tmp_path_factory.mktemp(request.module.__name__.rpartition(".")[2])
    with (
        devservices.running(ROOT, name=instance_name(), reset=True) as servers,
        System(
            ROOT,
            servers.kafka,
            servers.postgres,
            scratch / "logs",
            names=options.services,
            settings=options.settings,
            spawn=preloaded.spawn,
        ) as system,  # fmt: skip
    ):
        one = Shop(servers, system, options, scratch)
        await one.open()
        yield one
        await one.close()

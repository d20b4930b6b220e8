"""A shop per test module: its own Kafka and PostgreSQL, empty at the start; one at a time per xdist worker."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Iterator
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
    "test_schemathesis", "test_order_model", "test_workers", "test_outages", "test_restore", "test_refunds", "test_crash",
    "test_edits", "test_poison", "test_requests", "test_delivery", "test_hostile_requests", "test_chassis_alerts",
    "test_servers", "test_webhooks", "test_demo", "test_failover", "test_feed", "test_console_browser", "test_console_hostile",
    "test_background", "test_changes", "test_webhooks_replays", "test_simulation_saga",
)  # fmt: skip
"""The slowest files, started first so that they do not run alone at the end (tests/run.py uses this order); then the other
files of this folder, then all others."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.real)
            item.add_marker(
                pytest.mark.asyncio(loop_scope="module"), append=False
            )  # the shop's clients live in one loop
    rank = {name: n for n, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank) + (HERE not in item.path.parents)))


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

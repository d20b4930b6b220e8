"""A process of the peer: starts DBOS workflows of four steps, `--concurrency` at a time.

    python -m bench.dbos_worker --dsn APP --system-dsn SYSTEM --series NAME --count 2000 --warm-up 200 --concurrency 20

Warms up, prints "ready", waits for a line on stdin, runs, and prints the times of its begin and end. The orders are made before
that: unlike Tradewind, the peer needs no broker.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dbos import DBOS, AsyncSQLAlchemyDatasource, DBOSConfig, SetWorkflowID, SQLAlchemyDatasource

from bench import dbos_flow
from bench.workload import Series

Item = tuple[str, dict[str, Any]]
STEPS: tuple[Callable[[str, dict[str, Any]], Any], ...] = (
    dbos_flow.reserve,
    dbos_flow.authorize,
    dbos_flow.capture,
    dbos_flow.invoice,
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.dbos_worker", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--dsn", required=True)
    parser.add_argument("--system-dsn", required=True)
    parser.add_argument("--series", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--warm-up", type=int, default=0)
    parser.add_argument("--concurrency", type=int, required=True, help="concurrent workflows")
    parser.add_argument("--pool", type=int, default=20, help="connections in each of the two pools")
    parser.add_argument("--api", choices=("async", "sync"), default="async")
    parser.add_argument("--share", default="0/1", help="n/of: the orders whose number modulo `of` is n")
    arguments = parser.parse_args()
    mine, of = map(int, arguments.share.split("/"))
    series = Series(arguments.series)
    warm_up, orders = (
        [(str(series.key(n)), series.order(n)) for n in range(first, last) if n % of == mine]
        for first, last in ((0, arguments.warm_up), (arguments.warm_up, arguments.warm_up + arguments.count))
    )
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": arguments.system_dsn,
        "sys_db_pool_size": arguments.pool,
        "max_executor_threads": max(arguments.concurrency, 64),
        "log_level": "WARNING",
        "executor_id": f"bench-{mine}",
        "application_version": "bench",
    }
    DBOS(config=config)
    if arguments.api == "async":
        times = asyncio.run(_async(arguments, warm_up, orders))
    else:
        times = _sync(arguments, warm_up, orders)
    print(json.dumps(times), flush=True)
    sys.stdin.readline()  # the parent reads this process's CPU seconds before it ends
    os._exit(0)  # without joining DBOS's threads


async def _async(arguments: argparse.Namespace, warm_up: list[Item], orders: list[Item]) -> dict[str, float]:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(max(arguments.concurrency * 2, 32)))
    source = await AsyncSQLAlchemyDatasource.create(arguments.dsn, engine_kwargs={"pool_size": arguments.pool})

    def step(statements: Callable[[str, dict[str, Any]], Any]) -> Any:
        async def body(key: str, order: dict[str, Any]) -> None:
            session = source.sql_session()
            for statement, values in statements(key, order):
                await session.execute(statement, values)

        body.__qualname__ = body.__name__ = statements.__name__
        return source.transaction(isolation_level="READ COMMITTED")(body)

    steps = [step(statements) for statements in STEPS]

    async def four_steps(key: str, order: dict[str, Any]) -> None:
        for one in steps:
            await one(key, order)

    place = DBOS.workflow()(four_steps)
    DBOS.launch()

    async def lane(waiting: Iterator[Item]) -> None:
        for key, order in waiting:
            with SetWorkflowID(key):
                await place(key, order)

    async def all_of(items: list[Item]) -> None:
        waiting = iter(items)
        await asyncio.gather(*(lane(waiting) for _ in range(arguments.concurrency)))

    await all_of(warm_up)
    await asyncio.to_thread(_wait_for_the_start)
    began = time.time()
    await all_of(orders)
    return {"began": began, "ended": time.time()}


def _sync(arguments: argparse.Namespace, warm_up: list[Item], orders: list[Item]) -> dict[str, float]:
    source = SQLAlchemyDatasource.create(arguments.dsn, engine_kwargs={"pool_size": arguments.pool})

    def step(statements: Callable[[str, dict[str, Any]], Any]) -> Any:
        def body(key: str, order: dict[str, Any]) -> None:
            session = source.sql_session()
            for statement, values in statements(key, order):
                session.execute(statement, values)

        body.__qualname__ = body.__name__ = statements.__name__
        return source.transaction(isolation_level="READ COMMITTED")(body)

    steps = [step(statements) for statements in STEPS]

    def four_steps(key: str, order: dict[str, Any]) -> None:
        for one in steps:
            one(key, order)

    place = DBOS.workflow()(four_steps)
    DBOS.launch()

    def run(item: Item) -> None:
        with SetWorkflowID(item[0]):
            place(*item)

    with ThreadPoolExecutor(arguments.concurrency) as pool:
        list(pool.map(run, warm_up))
        _wait_for_the_start()
        began = time.time()
        list(pool.map(run, orders))
    return {"began": began, "ended": time.time()}


def _wait_for_the_start() -> None:
    print(json.dumps("ready"), flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    sys.exit(main())

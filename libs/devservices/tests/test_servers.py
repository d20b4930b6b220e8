"""The real servers: they serve, stop, crash, restart at the same address with their data, and end with their parent."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import psutil  # type: ignore[import-untyped]
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer  # type: ignore[import-untyped]
from aiokafka.admin import AIOKafkaAdminClient, NewTopic  # type: ignore[import-untyped]

import devservices
from devservices import Services, background
from devservices.instance import Instance
from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[3]  # of the clone, for its cache: jars are fetched once, not once per test run
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")
pytestmark = pytest.mark.real


@pytest.fixture(autouse=True, scope="module")
def no_servers_from_elsewhere() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("KAFKA_BOOTSTRAP_SERVERS", "POSTGRES_URL", "TRADEWIND_DEVSERVICES"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def services(no_servers_from_elsewhere: None) -> Iterator[Services]:
    name = f"devservices-test-{WORKER}"
    with devservices.running(ROOT, name, reset=True) as services:
        asyncio.run(create_topic(services))
        services.postgres.create_database("orders")
        yield services
    shutil.rmtree(ROOT / ".devservices" / name)


def test_a_message_of_four_megabytes_and_a_row_survive_clean_restarts(services: Services) -> None:
    addresses = services.kafka.bootstrap_servers, services.postgres.dsn("orders")
    body = bytes(4_000_000)
    asyncio.run(send(services, body))
    asyncio.run(execute(services, "create table stored as select 42 as value"))
    services.kafka.restart()
    services.postgres.restart()
    assert (services.kafka.bootstrap_servers, services.postgres.dsn("orders")) == addresses
    assert asyncio.run(last_message(services)) == body
    assert asyncio.run(fetch(services, "select value from stored")) == 42


def test_an_acknowledged_message_and_a_committed_row_survive_crashes(services: Services) -> None:
    asyncio.run(send(services, b"acknowledged"))
    asyncio.run(execute(services, "create table committed as select 7 as value"))
    services.kafka.kill()
    services.postgres.stop("immediate")
    services.postgres.start()
    services.kafka.start()
    assert asyncio.run(last_message(services)) == b"acknowledged"
    assert asyncio.run(fetch(services, "select value from committed")) == 7


def test_a_paused_broker_accepts_connections_and_answers_once_resumed(services: Services) -> None:
    host, port = services.kafka.bootstrap_servers.split(":")
    api_versions = bytes.fromhex("0000000a 0012 0000 00000001 ffff")
    services.kafka.pause()
    with socket.create_connection((host, int(port)), timeout=0.3) as connection:
        connection.sendall(api_versions)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        services.kafka.resume()
        connection.settimeout(PATIENCE_SECONDS)
        assert connection.recv(1)


def test_describing_a_topic_does_not_create_it(services: Services) -> None:
    async def topics_after_asking() -> list[str]:
        admin = AIOKafkaAdminClient(bootstrap_servers=services.kafka.bootstrap_servers)
        await admin.start()
        try:
            await admin.describe_topics(["never-made"])
            return list(await admin.list_topics())
        finally:
            await admin.close()

    assert "never-made" not in asyncio.run(topics_after_asking())


def test_creating_and_dropping_a_database_is_idempotent_even_in_use(services: Services) -> None:
    async def while_connected() -> None:
        connection = await asyncpg.connect(services.postgres.dsn("passing"))
        services.postgres.drop_database("passing")  # from inside a running loop
        connection.terminate()

    for _ in range(2):
        services.postgres.create_database("passing")
    asyncio.run(while_connected())
    services.postgres.drop_database("passing")


def test_fsync_is_on(services: Services) -> None:
    assert asyncio.run(fetch(services, "show fsync")) == "on"
    assert asyncio.run(fetch(services, "show listen_addresses")) == "127.0.0.1"


@pytest.mark.parametrize(("ending", "status"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_no_server_outlives_a_process_that_is_killed_or_interrupted(ending: signal.Signals, status: int) -> None:
    name = f"devservices-ends-{WORKER}"
    holding = """
import pathlib, signal, sys, time, devservices
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background inherits SIG_IGN
try:
    with devservices.running(pathlib.Path(sys.argv[1]), sys.argv[2], reset=True) as services:
        print(services.kafka.pid, services.postgres.pid, flush=True)
        time.sleep(600)
except KeyboardInterrupt:
    sys.exit(130)
"""
    command = [sys.executable, "-c", holding, str(ROOT), name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 2
        process.send_signal(ending)
        assert process.wait(PATIENCE_SECONDS) == status
    until(lambda: not any(runs(pid) for pid in pids), f"processes {pids} end")
    shutil.rmtree(ROOT / ".devservices" / name)


def test_servers_left_running_are_found_by_the_next_call_and_stopped_by_another() -> None:
    instance = Instance(ROOT, f"devservices-left-{WORKER}")
    with instance.locked():
        assert background.found(instance) == (None, None)
        with background.left_running(instance) as first:
            pass
        with background.left_running(instance) as again:
            assert (again.kafka.pid, again.postgres.pid) == (first.kafka.pid, first.postgres.pid)
    with pytest.raises(devservices.DevservicesError, match="already runs in the background .* down --name"):
        with devservices.running(ROOT, instance.name):
            pass
    with instance.locked():
        assert background.stop_left(instance) == 2
        assert background.found(instance) == (None, None)
    shutil.rmtree(instance.directory)


def test_an_error_stops_the_servers_that_would_have_been_left_running() -> None:
    instance = Instance(ROOT, f"devservices-left-{WORKER}")
    with instance.locked():
        with contextlib.suppress(ZeroDivisionError), background.left_running(instance) as servers:
            pids = [servers.kafka.pid, servers.postgres.pid]
            raise ZeroDivisionError
    assert not any(runs(pid) for pid in pids)
    shutil.rmtree(instance.directory)


def runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS:.0f} s for: {what}"
        time.sleep(0.02)


async def create_topic(services: Services) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=services.kafka.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic("t", 1, 1, topic_configs={"max.message.bytes": "5000000"})])
    finally:
        await admin.close()


async def send(services: Services, body: bytes) -> None:
    async with AIOKafkaProducer(
        bootstrap_servers=services.kafka.bootstrap_servers, max_request_size=5_000_000, acks="all"
    ) as producer:
        await producer.send_and_wait("t", body)


async def last_message(services: Services) -> bytes:
    async with AIOKafkaConsumer(
        "t", bootstrap_servers=services.kafka.bootstrap_servers, auto_offset_reset="earliest"
    ) as consumer:
        [partition] = consumer.assignment()
        end = (await consumer.end_offsets([partition]))[partition]
        consumer.seek(partition, end - 1)
        return bytes((await asyncio.wait_for(consumer.getone(), PATIENCE_SECONDS)).value)


async def execute(services: Services, statement: str) -> None:
    connection = await asyncpg.connect(services.postgres.dsn("orders"))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def fetch(services: Services, query: str) -> object:
    connection = await asyncpg.connect(services.postgres.dsn("orders"))
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()

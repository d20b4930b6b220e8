"""Alembic for a service, without an ini file: `upgrade(service, url)` runs `services/<name>/migrations/versions`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from chassis.declare.tables import chassis_tables

if TYPE_CHECKING:
    from chassis.declare.service import Service


def create_chassis_tables(op: Any) -> None:
    """For a service's first migration: the chassis' tables, each partitioned one with its default partition."""
    metadata = MetaData()
    chassis_tables(metadata)
    metadata.create_all(op.get_bind(), checkfirst=False)
    op.execute("create table inbox_default partition of inbox default")
    op.execute("create table journal_default partition of journal default")
    # The busiest tables are emptied as fast as they fill: vacuum them before they grow.
    for table in ("outbox", "timers", "tasks"):
        op.execute(f"alter table {table} set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0)")


def drop_chassis_tables(op: Any) -> None:
    metadata = MetaData()
    chassis_tables(metadata)
    metadata.drop_all(op.get_bind(), checkfirst=False)


def script_of(service: Service) -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(service.migrations))
    return ScriptDirectory.from_config(config)


async def upgrade(service: Service, url: str) -> None:
    """Bring the database of `url` to the newest schema. Idempotent; two at once wait for each other."""
    script = script_of(service)

    def run(connection: Connection) -> None:
        connection.exec_driver_sql("select pg_advisory_xact_lock(6021977)")

        def steps(revision: Any, context: Any) -> Any:
            return script._upgrade_revs("head", revision)

        with EnvironmentContext(Config(), script, fn=steps, destination_rev="head") as environment:
            environment.configure(connection=connection, target_metadata=service.metadata)
            environment.run_migrations()

    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://", 1), poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(run)
    finally:
        await engine.dispose()

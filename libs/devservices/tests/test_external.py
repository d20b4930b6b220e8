"""Servers named in the environment: used as they are, never stopped."""

from pathlib import Path

import pytest

import devservices
from devservices import CannotControl, DevservicesError
from devservices.external import ExternalKafka, ExternalPostgres
from devservices.ports import choose_port


def test_the_database_is_put_into_the_base_address() -> None:
    postgres = ExternalPostgres("postgresql://me:secret@db.example:6432/admin?sslmode=require")
    assert postgres.dsn("orders") == "postgresql://me:secret@db.example:6432/orders?sslmode=require"
    assert postgres.maintenance_database == "admin"


@pytest.mark.parametrize("verb", ["stop", "kill", "pause", "resume", "restart"])
def test_a_broker_named_in_the_environment_cannot_be_controlled(verb: str) -> None:
    with pytest.raises(CannotControl, match="unset KAFKA_BOOTSTRAP_SERVERS"):
        getattr(ExternalKafka("127.0.0.1:9092"), verb)()


def test_a_database_server_named_in_the_environment_cannot_be_controlled() -> None:
    with pytest.raises(CannotControl, match="unset POSTGRES_URL"):
        ExternalPostgres("postgresql://db/postgres").restart("immediate")


def test_an_address_without_a_server_is_reported_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = choose_port("any", None)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{free}")
    monkeypatch.setenv("POSTGRES_URL", f"postgresql://me:secret@127.0.0.1:{free}/postgres")
    with pytest.raises(DevservicesError, match="No broker of KAFKA_BOOTSTRAP_SERVERS answers"):
        with devservices.running(tmp_path, "demo"):
            pass
    with pytest.raises(DevservicesError, match=f"PostgreSQL at 127.0.0.1:{free}/postgres") as raised:
        ExternalPostgres(f"postgresql://me:secret@127.0.0.1:{free}/postgres").start()
    assert "secret" not in str(raised.value)
    assert not (tmp_path / ".devservices").exists()

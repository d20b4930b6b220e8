"""The choice of a server's port."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from devservices import DevservicesError
from devservices.instance import Instance
from devservices.ports import CHOSEN_FROM, HOST, choose_port


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind((HOST, choose_port("any", None)))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_chosen_port_lies_below_those_lent_to_outgoing_connections() -> None:
    assert choose_port("kafka_port", None) in CHOSEN_FROM
    assert CHOSEN_FROM.stop <= 32_768


def test_a_recorded_port_is_taken_again_while_it_is_free(taken: int) -> None:
    free = choose_port("kafka_port", None)
    assert choose_port("kafka_port", None, recorded=free) == free
    assert choose_port("kafka_port", None, recorded=taken) != taken


def test_a_named_port_that_is_taken_is_an_error_naming_the_setting(taken: int) -> None:
    with pytest.raises(DevservicesError, match=rf"^kafka_port={taken} cannot be used .* name another port"):
        choose_port("kafka_port", taken)


def test_an_instance_keeps_its_ports_and_gives_each_server_another(tmp_path: Path) -> None:
    first = Instance(tmp_path, "demo")
    with first.locked():
        ports = [first.choose(setting) for setting in ("kafka_port", "controller_port", "postgres_port")]
    again = Instance(tmp_path, "demo")
    assert [again.choose(setting) for setting in ("kafka_port", "controller_port", "postgres_port")] == ports
    assert len(set(ports)) == 3


def test_two_servers_cannot_be_given_the_same_port(tmp_path: Path) -> None:
    instance = Instance(tmp_path, "demo")
    with instance.locked():
        port = instance.choose("kafka_port", choose_port("any", None))
        with pytest.raises(DevservicesError, match=f"postgres_port={port}"):
            instance.choose("postgres_port", port)

"""Chooses ports: what the user named, else what this instance had before, else a free one.

Chosen ports lie below 32768. Above begin the ports that the system lends to outgoing connections: clients that try to
reconnect to a stopped broker there can take its port as their own, and it cannot start again.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Collection

from devservices.errors import DevservicesError

HOST = "127.0.0.1"
CHOSEN_FROM = range(20_000, 30_000)


def choose_port(setting: str, named: int | None, recorded: int | None = None, not_these: Collection[int] = ()) -> int:
    """A port nobody listens on. Only a `named` one that is taken is an error, and the sentence names `setting`."""
    if named is not None:
        if obstacle := "another server here has it" if named in not_these else _obstacle(named):
            raise DevservicesError(
                f"{setting}={named} cannot be used on {HOST} ({obstacle}): name another port, or leave it out."
            )
        return named
    if recorded is not None and recorded not in not_these and not _obstacle(recorded):
        return recorded
    for port in random.sample(CHOSEN_FROM, len(CHOSEN_FROM)):
        if port not in not_these and not _obstacle(port):
            return port
    raise DevservicesError(f"No port from {CHOSEN_FROM.start} to {CHOSEN_FROM.stop - 1} is free on {HOST}: name one.")


def answers(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def _obstacle(port: int) -> str | None:
    """Why nobody can listen on `port` now, None if one can."""
    with socket.socket() as probe:
        # Connections of a server that just stopped linger in TIME_WAIT; they are no obstacle for servers, nor here.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen()
        except (OSError, OverflowError) as error:
            return getattr(error, "strerror", None) or str(error)
    return None

"""Chooses ports: the one that the user named, else the instance's previous one, else a free one.

Chosen ports are below 32768, where the range of ephemeral ports begins: a client that reconnects to a stopped broker can
be assigned the broker's port as its own, and the broker cannot start again.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Collection

from devservices.errors import DevservicesError

HOST = "127.0.0.1"
CHOSEN_FROM = range(20_000, 30_000)


def choose_port(setting: str, named: int | None, recorded: int | None = None, not_these: Collection[int] = ()) -> int:
    """Returns a port that no process listens on. Raises DevservicesError, naming `setting`, if a `named` port is taken."""
    if named is not None:
        if obstacle := "another server of this instance uses it" if named in not_these else _obstacle(named):
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
    """Why no server can listen on `port` now; None if one can."""
    with socket.socket() as probe:
        # Connections of a stopped server remain in TIME_WAIT; servers ignore them with this option, so this probe does too.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen()
        except (OSError, OverflowError) as error:
            return getattr(error, "strerror", None) or str(error)
    return None

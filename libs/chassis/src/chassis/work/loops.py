"""What the loops of services have in common: which errors delay one, and which end the process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from chassis.batch.errors import is_transient

log = structlog.get_logger("chassis.loops")


@contextmanager
def delayed(loop: str) -> Iterator[None]:
    """A database or a service that is away delays a loop: what is left undone within is done in the next round.

    Any other error is a fault. It ends the process, which is then started again, as a fault in any of its parts does:
    `chassis.process.app`.
    """
    try:
        yield
    except Exception as error:
        if not is_transient(error):
            raise
        log.info("loop_delayed", loop=loop, error=repr(error))

"""The kinds of processes that an order runs. `edit`, `refund`, `return` and `renew` will join them."""

from __future__ import annotations

from typing import Final

from orders.domain.place import PLACE
from orders.domain.settle import SETTLE
from orders.domain.story import Process
from orders.domain.undo import UNDO

KINDS: Final[dict[str, Process]] = {process.kind: process for process in (PLACE, SETTLE, UNDO)}

"""How this process stands back behind others of its machine."""

from __future__ import annotations

import os
import time
from pathlib import Path

AUTOGROUP = Path("/proc/self/autogroup")
TRIES = 30
"""Linux takes one such change in a tenth of a second from all that are not root, and says EAGAIN to the others."""


def stand_back(niceness: int) -> None:
    """Add to the niceness of this process and of all that it starts. 0 leaves it as it was given.

    Where Linux schedules each session as one (autogroup), niceness counts only among the processes of a session; how the
    session stands among the others is said apart.
    """
    if not niceness:
        return
    os.nice(niceness)
    if not AUTOGROUP.exists():
        return
    for _ in range(TRIES):
        try:
            AUTOGROUP.write_text(str(niceness))
        except BlockingIOError:
            time.sleep(0.1)
        except OSError:
            return  # the kernel can do it, the container may not
        else:
            return

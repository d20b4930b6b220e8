"""`python -m dintero_compat`."""

import gc

gc.disable()  # while it loads: a fifth of the time. `chassis.process.cli` enables it again.

from chassis.process.cli import run  # noqa: E402
from dintero_compat.handlers import SERVICE  # noqa: E402

run(SERVICE)

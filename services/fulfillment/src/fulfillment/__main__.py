"""`python -m fulfillment`: the whole service in one process."""

import gc

gc.disable()  # while it loads: a fifth of the time. `chassis.process.cli` enables it again.

from chassis.process.cli import run  # noqa: E402
from fulfillment.handlers import SERVICE  # noqa: E402

if __name__ == "__main__":
    run(SERVICE)

"""`python -m orders`."""

import gc

gc.disable()  # while it loads: a fifth of the time. `chassis.process.cli` enables it again.

from orders.main import main  # noqa: E402

main()

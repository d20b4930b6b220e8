"""`python -m payments`."""

import gc

gc.disable()  # while it loads: a fifth of the time. `chassis.process.cli` enables it again.

from payments.main import main  # noqa: E402

main()

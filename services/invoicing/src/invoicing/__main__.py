"""`python -m invoicing`."""

import gc

gc.disable()  # while it loads: a fifth of the time. `chassis.process.cli` enables it again.

from invoicing.main import main  # noqa: E402

main()

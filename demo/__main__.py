"""`python -m demo [--file F] [--orders N]`: real orders through the real system; `make demo` calls this.

Exit status: 0 if every order ended as it must, 1 if not or after an error, 2 for a file or an option that cannot be used,
130 after Ctrl-C. In every case all processes that it started have ended.
"""

from __future__ import annotations

import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing is started yet: an early Ctrl-C needs no traceback

import os  # noqa: E402  (the line above comes first)
import sys  # noqa: E402  (after the line above)

from system.interrupt import Interrupt  # noqa: E402  (the same)


def main() -> int:
    with Interrupt() as interrupt:
        try:
            from demo.command import main as run  # slow imports: `interrupt` handles Ctrl-C from here

            status = run(interrupt)
        except KeyboardInterrupt:
            print("\nStopped: everything that the demo started has ended.", file=sys.stderr, flush=True)
            # Without joining threads: one may still be connecting to a stopped server.
            os._exit(interrupt.exit_status)
    return status


if __name__ == "__main__":
    sys.exit(main())

"""`python -m demo [--file F] [--orders N]`: real orders through the real system; `make demo` calls this.

Exit status: 0 when every order ended as it must, 1 when not or when something failed, 2 for a file or an option that
cannot be used, 130 after Ctrl-C. Whatever happens, nothing that was started stays behind.
"""

from __future__ import annotations

import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing is started yet: an early Ctrl-C ends us without a traceback

import os  # noqa: E402  (the line above comes first)
import sys  # noqa: E402  (after the line above)

from system.interrupt import Interrupt  # noqa: E402  (the same)


def main() -> int:
    with Interrupt() as interrupt:
        try:
            from demo.command import main as run  # the imports take a moment: Ctrl-C counts from here

            status = run(interrupt)
        except KeyboardInterrupt:
            print("\nStopped: everything that the demo started has ended.", file=sys.stderr, flush=True)
            # Without waiting for threads: one may still look for servers that are gone.
            os._exit(interrupt.exit_status)
    return status


if __name__ == "__main__":
    sys.exit(main())

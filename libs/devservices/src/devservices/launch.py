"""Becomes a server: drops root, asks the kernel to end it with its parent, then is replaced by the server's program.

Run as a file, with nothing but the standard library, because it does between fork and exec what is not safe to do in
the forked copy of a process with threads:

    python -I -S launch.py PARENT_PID SIGNAL UID NICENESS PROGRAM ARGUMENT...

SIGNAL 0: outlives its parent. UID -1: stays who it is.
"""

import os
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    parent_pid, signal_number, uid, niceness = (int(argument) for argument in sys.argv[1:5])
    command = sys.argv[5:]
    prctl = None
    if signal_number and sys.platform == "linux":
        try:
            import ctypes  # while we are still who we were: the user we become may not be able to read Python's files

            prctl = ctypes.CDLL(None).prctl
        except ImportError:  # a Python built without it: the server outlives a kill -9 of its parent
            pass
    os.nice(niceness)
    if uid >= 0:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, signal_number)  # after setuid, which clears it
        if os.getppid() != parent_pid:  # died before we asked
            sys.exit(1)
    os.execv(command[0], command)


main()

"""Executes a server's program: drops root, registers the signal that the kernel sends when the parent ends, then calls exec.

Runs as a file of its own, with the standard library only: these steps between fork and exec are not safe in the forked copy
of a process with threads.

    python -I -S launch.py PARENT_PID SIGNAL UID NICENESS PROGRAM ARGUMENT...

SIGNAL 0: the server outlives its parent. UID -1: the user stays the same.
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
            import ctypes  # before setuid: the other user may have no right to read Python's files

            prctl = ctypes.CDLL(None).prctl
        except ImportError:  # a Python built without ctypes: the server outlives a kill -9 of its parent
            pass
    os.nice(niceness)
    if uid >= 0:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, signal_number)  # after setuid, which clears it
        if os.getppid() != parent_pid:  # the parent ended before the registration
            sys.exit(1)
    os.execv(command[0], command)


main()

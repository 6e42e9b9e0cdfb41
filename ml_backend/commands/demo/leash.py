"""Run a command that ends when its parent ends: `leash.py PARENT_PID COMMAND...`.

Run by path before every program of the demo, in place of a `preexec_fn`, which is unsafe once the supervisor has
threads. Linux only; elsewhere a killed supervisor's programs are found and ended by the next start (`programs`).
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # the parent ended before prctl
            sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606 (no shell is wanted)

"""A network of our own with nothing in it but this machine: an accidental call out fails at once, and so does DNS.

Where the kernel lets nobody make one, `tests.faults.launch.stay_on_this_machine` refuses other addresses instead.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys

INSIDE = "KAAN_FAULTS_NETWORK"
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1


def enter() -> str:
    """Begin this program again inside such a network; comes back with a sentence about where it runs."""
    if os.environ.get(INSIDE) == "own":
        _bring_up_loopback()
        return "in a network of its own with nothing but this machine"
    for options in (["-n"], ["-rn"]):
        command = ["unshare", *options]
        if shutil.which("unshare") and not subprocess.run([*command, "true"], stderr=subprocess.DEVNULL).returncode:
            os.environ[INSIDE] = "own"
            os.execvp("unshare", [*command, sys.executable, *sys.orig_argv[1:]])  # noqa: S606
    return "on this machine's network, where other addresses are refused"


def _bring_up_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))

"""Ports of this machine: whether one is free, which process has it, and whether a server answers on it."""

from __future__ import annotations

import socket

import psutil

from ml_backend.errors import ConfigurationError

LOOPBACK = "127.0.0.1"


def free() -> int:
    """A port that is free at this moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether we can bind it and no server answers on it (Label Studio checks only the second)."""
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex((LOOPBACK, port)) == 0:
            return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def require_free(port: int, what: str, option: str) -> None:
    """Raise an error that names the port, the process that has it, and a free one."""
    if is_free(port):
        return
    raise ConfigurationError(
        "port-busy",
        f"Port {port}, for {what}, is in use{_holder(port)}.",
        f"Stop that program, or choose another port, for example: {option} {free()}",
    )


def answers(port: int, path: str, contains: str = "") -> bool:
    """Whether GET `path` on loopback gives a 2xx whose body has `contains`.

    Written on a socket because `sync.outbound.http` is the one place that knows the HTTP library, and lies above us.
    """
    request = f"GET {path} HTTP/1.0\r\nHost: {LOOPBACK}:{port}\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection((LOOPBACK, port), timeout=2) as connection:
            connection.settimeout(5)
            connection.sendall(request.encode())
            answer = b""
            while len(answer) < 65536 and (piece := connection.recv(4096)):
                answer += piece
    except OSError:
        return False
    status, _, rest = answer.decode(errors="replace").partition("\r\n")
    return status.split(" ")[1:2] in (["200"], ["204"]) and contains in rest


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except (psutil.Error, OSError):
        pass  # no permission: the message omits the process
    return ""

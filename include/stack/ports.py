"""Ports on the loopback interface: find free ones, and say who holds one that is taken."""

import random
import socket
from pathlib import Path

import psutil

LOOPBACK = "127.0.0.1"
_LOWEST = 20000
_RANGE_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def is_free(port: int) -> bool:
    """Whether a server can listen on `port` of the loopback interface now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
        return True


def free_ports(n: int) -> list[int]:
    """`n` distinct ports that are free now.

    They lie below the kernel's range for outgoing connections where there is room: a port out of that range
    is lent to any client while its server restarts, and the server then finds it taken.
    """
    highest = int(_RANGE_FILE.read_text().split()[0]) if _RANGE_FILE.exists() else 32768
    candidates = list(range(_LOWEST, highest)) if highest - _LOWEST > 1000 else list(range(10000, 65000))
    random.SystemRandom().shuffle(candidates)
    found: list[int] = []
    for port in candidates:
        if len(found) == n:
            break
        if is_free(port):
            found.append(port)
    return found


def holder(port: int) -> str:
    """Who listens on `port`, for an error message: program and pid; empty when it may not be seen."""
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        return ""
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.pid and port in connection.laddr:
            try:
                return f"{psutil.Process(connection.pid).name()}, pid {connection.pid}"
            except psutil.NoSuchProcess:
                return ""
    return ""

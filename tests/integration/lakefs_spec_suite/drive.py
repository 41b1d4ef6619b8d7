"""Run lakefs-spec's own tests, unchanged, against the lake server; a process of its own.

They have the address localhost:8000 and the well-known quickstart keys written into them. Where the system
allows it the process is started in a network namespace of its own, so that port 8000 is always free there.
"""

import argparse
import contextlib
import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from include.stack import lake_server, seaweedfs
from include.stack.credentials import KeyPair
from include.stack.ports import free_ports, holder, is_free
from include.stack.server import running

PORT = 8000
QUICKSTART = KeyPair("AKIAIOSFOLQUICKSTART", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


def raise_loopback() -> None:
    """Bring up `lo` of a new network namespace; it is already up anywhere else."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        flags = struct.unpack("16sh14x", fcntl.ioctl(probe, SIOCGIFFLAGS, struct.pack("16s16x", b"lo")))[1]
        if not flags & IFF_UP:
            fcntl.ioctl(probe, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


@contextlib.contextmanager
def lake(blockstore: str, work: Path) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        store = None
        if blockstore == "s3":
            ports = dict(zip(seaweedfs.PORTS, free_ports(len(seaweedfs.PORTS)), strict=True))
            keys = KeyPair.generate()
            weed = seaweedfs.server(work / "seaweedfs", ports, keys, ("headrace-lake",))
            store = seaweedfs.S3Access(stack.enter_context(running(weed)).url, keys)
        server = lake_server.server(work / "lakefs", PORT, QUICKSTART, store, quickstart=True)
        stack.enter_context(running(server))
        yield


def run_suite(suite: Path, home: Path, junit: Path) -> int:
    """Pytest in the suite's own folder and configuration; nothing of ours is on its path but the packages."""
    home.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--rootdir=.",
        "-p",
        "no:cacheprovider",
        "-q",
        f"--junitxml={junit}",
    ]
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "NO_PROXY": "*"}
    return subprocess.run(command, cwd=suite, env=environment, check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--blockstore", choices=["local", "s3"], required=True)
    for name in ("suite", "work", "junit"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    raise_loopback()
    if not is_free(PORT):
        sys.exit(
            f"Port {PORT} is taken ({holder(PORT) or 'unknown program'}) and the suite knows no other: "
            "stop that program, or allow `unshare`, which gives the tests a network of their own."
        )
    with lake(given.blockstore, given.work):
        return run_suite(given.suite, given.work / "home", given.junit)


if __name__ == "__main__":
    sys.exit(main())

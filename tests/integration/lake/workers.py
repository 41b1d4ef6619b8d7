"""What the tests of the lake run in processes of their own; imports little, so that they start fast."""

import hashlib
import multiprocessing
import os
import resource
import signal

from include.lake import Lake, checkout
from include.lake.errors import DiskFull
from include.settings import Settings
from include.spec.refs import CommitRef
from tests.integration.lake.samples import PATIENCE

FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(["tests.integration.lake.workers"])


def with_cache(settings: Settings, size_bytes: int) -> Lake:
    """A lake whose cache holds so much."""
    smaller = settings.model_copy(update={"cache_size_bytes": size_bytes})
    return Lake.connect(smaller, patience=PATIENCE)


def fetch_all(settings: Settings, commit: CommitRef) -> tuple[int, str]:
    lake = Lake.connect(settings, patience=PATIENCE)
    with checkout(lake, commit, "raw") as files:
        digest = hashlib.sha256()
        for stat in files.objects:
            digest.update(files.path(stat.path).read_bytes())
        return files.fetched_bytes, digest.hexdigest()


def hold_and_die(settings: Settings, commit: CommitRef) -> None:
    held = checkout(Lake.connect(settings, patience=PATIENCE), commit, "raw/a")
    assert held.path("raw/a/x.bin").exists()
    os.kill(os.getpid(), signal.SIGKILL)


def evict_around(settings: Settings, commit: CommitRef, names: str, rounds: int) -> int:
    """Read checkouts from a cache that holds fewer than all; the number of bytes that were wrong."""
    lake = with_cache(settings, 5000)
    wrong = 0
    for number in range(rounds):
        name = names[number % len(names)]
        with checkout(lake, commit, f"raw/{name}") as files:
            wrong += files.path(f"raw/{name}/x.bin").read_bytes() != name.encode() * 1000
    return wrong


def checkout_with_small_files(settings: Settings, commit: CommitRef, limit_bytes: int) -> str:
    lake = Lake.connect(settings, patience=PATIENCE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
    try:
        checkout(lake, commit, "raw")
    except DiskFull as error:
        return str(error)
    return "no error"

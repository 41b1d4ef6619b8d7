"""What the tests of the lake run in processes of their own; imports little, so that they start fast."""

import hashlib
import itertools
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from include.lake import Lake, checkout, collect_drafts, collect_objects, ensure_rules, publish, upload
from include.lake.collection import Rules
from include.lake.errors import DiskFull
from include.lake.integrity import SHA256_KEY
from include.lake.replies import BoundedRest
from include.lake.wire import Wire
from include.settings import Settings
from include.spec.refs import CommitRef, DraftRef, Published, Refused
from tests.integration.lake.samples import ORDERS, PASSED, PATIENCE, REFUSED, STATION

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


def publish_folder(
    settings: Settings, run_id: str, folders: dict[str, Path], requests: int | None = None
) -> Published | Refused:
    """Publish folders by prefix; with `requests`, die by SIGKILL before the request after so many."""
    lake = Lake.connect(settings, patience=PATIENCE)
    if requests is not None:
        _die_after(requests)

    def write(draft: DraftRef) -> None:
        for prefix, folder in folders.items():
            upload(lake, draft, folder, prefix)

    return publish(lake, run_id, STATION, write, lambda _draft: PASSED, f"Ingest {run_id}")


def refuse_folder(settings: Settings, run_id: str, folder: Path, requests: int) -> None:
    """Publish a folder that the gates refuse, and die after so many requests."""
    lake = Lake.connect(settings, patience=PATIENCE)
    _die_after(requests)
    publish(
        lake, run_id, STATION, lambda d: upload(lake, d, folder, ORDERS), lambda _draft: REFUSED, "Refuse"
    )


def keep_up(settings: Settings, ages: Mapping[str, float], requests: int) -> None:
    """The upkeep of drafts and objects, and die after so many requests."""
    lake = Lake.connect(settings, patience=PATIENCE)
    _die_after(requests)
    collect_drafts(
        lake,
        timedelta(days=ages["abandoned_after_days"]),
        refused_for=timedelta(days=ages["refused_for_days"]),
    )
    ensure_rules(lake, Rules(round(ages["refused_for_days"])))
    collect_objects(lake, timedelta(hours=ages["unreferenced_after_hours"]))


def read_again(settings: Settings, commit: CommitRef, rounds: int) -> int:
    """Read all that a commit holds, again and again; how many files were wrong or not there."""
    lake = Lake.connect(settings, patience=PATIENCE)
    wrong = 0
    for _ in range(rounds):
        with checkout(lake, commit, "raw") as files:
            for stat in files.objects:
                content = files.path(stat.path).read_bytes()
                wrong += hashlib.sha256(content).hexdigest() != stat.metadata[SHA256_KEY]
    return wrong


def _die_after(requests: int) -> None:
    """Kill this process by SIGKILL when it is about to send one request more."""
    left = itertools.count(requests, -1)

    def counted(send: Callable[..., Any]) -> Callable[..., Any]:
        def one(*arguments: Any, **options: Any) -> Any:
            if next(left) <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return send(*arguments, **options)

        return one

    BoundedRest.request = counted(BoundedRest.request)  # type: ignore[method-assign]
    Wire._request = counted(Wire._request)  # type: ignore[method-assign]

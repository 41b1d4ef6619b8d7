"""The lake client: checkout against a plain copy from S3, upload against a plain PUT, on the same files."""

import secrets
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyarrow import fs

from bench.report import Report, timed
from bench.servers import BUCKET, Servers, serving
from include.lake import Lake, checkout, commit_draft, merge_draft, open_draft, upload
from include.spec.verdict import Verdict

MIB = 2**20
PREFIX = "raw/bench/table"


def run(report: Report, work: Path, *, quick: bool) -> None:
    """Measure many small files and few large ones."""
    shapes = [("small", 100 if quick else 1000, 16 * 2**10), ("large", 2, (16 if quick else 128) * MIB)]
    with serving(work, "s3") as servers:
        rows: list[dict[str, Any]] = []
        for name, count, size_bytes in shapes:
            folder = make_files(work / name, count, size_bytes)
            rows += measure(servers, work, folder, f"{count} files of {size_bytes // 2**10:,} KiB")
        report.show("upload and checkout, S3 blockstore", rows)


def make_files(folder: Path, count: int, size_bytes: int) -> Path:
    """Files that cannot be compressed and differ from one another."""
    folder.mkdir()
    for number in range(count):
        (folder / f"part-{number:05d}.bin").write_bytes(secrets.token_bytes(size_bytes))
    return folder


def measure(servers: Servers, work: Path, folder: Path, shape: str) -> list[dict[str, Any]]:
    """One table's worth of files: up by both ways, down by both, and down again."""
    size_mib = sum(file.stat().st_size for file in folder.iterdir()) / MIB
    home = work / f"home-{folder.name}"
    lake = Lake.prepare(servers.settings(home, f"client-{folder.name}"))
    store, key = servers.s3_client(), uuid.uuid4().hex

    def plain_upload() -> None:
        for file in sorted(folder.iterdir()):
            store.upload_file(str(file), BUCKET, f"{key}/{file.name}")

    def our_upload() -> None:
        draft = open_draft(lake, uuid.uuid4().hex, "bench")
        upload(lake, draft, folder, f"raw/bench/{uuid.uuid4().hex}")

    rows = [_pair("upload", "boto3 upload_file, one by one", shape, size_mib, plain_upload, our_upload)]
    draft = open_draft(lake, uuid.uuid4().hex, "bench")
    upload(lake, draft, folder, PREFIX)
    commit_draft(lake, draft, "bench", {}, Verdict(passed=True, suite_hash="0" * 64, checked=1))
    merge_draft(lake, draft)
    head = lake.head()

    def plain_copy() -> None:
        target = work / "copied"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        fs.copy_files(f"{BUCKET}/{key}", str(target), source_filesystem=_arrow(servers), use_threads=True)

    def first_checkout() -> None:
        shutil.rmtree(lake.cache_folder, ignore_errors=True)
        checkout(lake, head, PREFIX).close()

    copies = "pyarrow copy_files"
    rows.append(_pair("checkout, empty cache", copies, shape, size_mib, plain_copy, first_checkout))
    rows.append(
        _pair(
            "checkout again",
            copies,
            shape,
            size_mib,
            plain_copy,
            lambda: checkout(lake, head, PREFIX).close(),
        )
    )
    return rows


def _pair(
    what: str, peer: str, shape: str, size_mib: float, plain: Callable[[], Any], ours: Callable[[], Any]
) -> dict[str, Any]:
    plain_s, ours_s = (timed(act, 3).p50_s for act in (plain, ours))
    return {
        "what": what,
        "files": shape,
        "ours MiB/s": size_mib / ours_s,
        "peer": peer,
        "peer MiB/s": size_mib / plain_s,
        "ours / peer time": ours_s / plain_s,
    }


def _arrow(servers: Servers) -> Any:
    assert servers.s3 is not None
    return fs.S3FileSystem(
        access_key=servers.s3.access_key,
        secret_key=servers.s3.secret_key,
        endpoint_override=servers.s3.endpoint,
        region=servers.s3.region,
    )

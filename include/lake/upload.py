"""Bytes to the lake: straight to the object store by pre-signed URLs, then linked on the draft.

A file is hashed once before it travels. The MD5 goes with it (`Content-MD5`), so that the store refuses bytes
that changed on the way, and its answer is compared; the SHA-256 is kept as user metadata, by which a checkout
can verify the object for ever. The rows of a Parquet file are kept too, which also refuses a file that is
none. The same bytes always give the same entry, so uploading twice changes nothing.
"""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from include.lake.connection import MODELS, Lake
from include.lake.integrity import SHA256_KEY
from include.lake.multipart import send_parts
from include.lake.objects import list_objects
from include.lake.outgoing import (
    CONTENT_TYPE,
    CountedFile,
    Outgoing,
    Progress,
    check_taken,
    content_md5,
    named_files,
    read_outgoing,
)
from include.lake.paths import prefix_path
from include.lake.runs import needed_head
from include.spec.refs import DraftRef

FILE_THREADS = 8


@dataclass(frozen=True)
class Uploaded:
    """What an upload staged.

    Args:
        paths: Lake paths, sorted.
        size_bytes: Of all files.
        sent_bytes: Of those that the draft did not hold already.
        rows: Of all Parquet files.
    """

    paths: tuple[str, ...]
    size_bytes: int
    sent_bytes: int
    rows: int


@dataclass(frozen=True)
class Parting:
    """Above `threshold_bytes` a file travels in parts of `part_bytes`, which is 5 MiB at least for S3."""

    threshold_bytes: int = 64 << 20
    part_bytes: int = 16 << 20

    def of(self, file: Path) -> int:
        """The size of the parts of a file; 0 for one that travels as a whole."""
        return self.part_bytes if file.stat().st_size > self.threshold_bytes else 0


def upload(
    lake: Lake,
    draft: DraftRef,
    source: Path | Sequence[Path] | Mapping[str, Path],
    prefix: str,
    *,
    progress: Progress | None = None,
    parting: Parting | None = None,
) -> Uploaded:
    """Stage files on the draft, several at a time; what the draft already holds does not travel again.

    Args:
        lake: Where.
        draft: What `open_draft` returned.
        source: A folder (relative names kept; hidden files left out), files (by their names), or
            {name under the prefix: file}.
        prefix: The folder of the lake to put them in.
        progress: Told of bytes as they travel.
        parting: When a file travels in parts.

    Raises:
        BadPath: A name that the lake must not hold, or two files of one name; nothing was sent.
        CorruptParquet: A file named .parquet is none; it was not staged.
        UploadFailed: The store took other bytes than were sent: the file changed meanwhile.
        DraftGone: There is no such draft.
    """
    files = named_files(source, prefix)
    held = _held(lake, draft, prefix) if files else {}
    parting = parting or Parting()

    def stage(item: tuple[str, Path]) -> tuple[int, int, int]:
        outgoing = read_outgoing(*item, parting.of(item[1]) if lake.pre_sign_multipart else 0)
        size_bytes = outgoing.digests.size_bytes
        if held.get(outgoing.path) == outgoing.digests.sha256:
            return size_bytes, 0, outgoing.rows
        _send(lake, draft, outgoing, progress, parting)
        return size_bytes, size_bytes, outgoing.rows

    with ThreadPoolExecutor(FILE_THREADS, thread_name_prefix="upload") as threads:
        futures = [threads.submit(stage, item) for item in sorted(files.items())]
        try:
            done = [future.result() for future in futures]
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise
    size_bytes, sent_bytes, rows = (sum(column) for column in zip(*done, strict=True)) if done else (0, 0, 0)
    return Uploaded(tuple(sorted(files)), size_bytes, sent_bytes, rows)


def _held(lake: Lake, draft: DraftRef, prefix: str) -> dict[str, str]:
    """SHA-256 by path of what the draft holds under the prefix."""
    needed_head(lake, draft)
    objects = list_objects(lake, draft, prefix_path(prefix))
    return {held.path: held.metadata[SHA256_KEY] for held in objects if SHA256_KEY in held.metadata}


def _send(
    lake: Lake, draft: DraftRef, outgoing: Outgoing, progress: Progress | None, parting: Parting
) -> None:
    if outgoing.digests.part_md5s:
        send_parts(lake, draft, outgoing, progress, parting.part_bytes)
    elif lake.pre_sign:
        lake.call(lambda: _put_and_link(lake, draft, outgoing, progress))
    else:
        lake.call(lambda: _through_server(lake, draft, outgoing, progress))


def _put_and_link(lake: Lake, draft: DraftRef, outgoing: Outgoing, progress: Progress | None) -> None:
    """One try, with an address of its own: a link that was lost leaves an object that nothing names."""
    size_bytes = outgoing.digests.size_bytes
    staging = lake.api.staging_api.get_physical_address(
        lake.repository, draft.branch, outgoing.path, presign=True
    )
    headers = {
        "Content-Type": CONTENT_TYPE,
        "Content-MD5": content_md5(bytes.fromhex(outgoing.digests.md5)),
    }
    with CountedFile(outgoing, progress, 0, size_bytes) as body:
        stored = lake.wire.send("PUT", staging.presigned_url, body, size_bytes, headers)
        check_taken(outgoing, stored.etag, opaque=stored.opaque)
    linked = MODELS.StagingMetadata(
        staging=staging,
        checksum=stored.etag,
        size_bytes=size_bytes,
        user_metadata=dict(outgoing.metadata),
        content_type=CONTENT_TYPE,
    )
    lake.api.staging_api.link_physical_address(
        lake.repository, draft.branch, outgoing.path, staging_metadata=linked
    )


def _through_server(lake: Lake, draft: DraftRef, outgoing: Outgoing, progress: Progress | None) -> None:
    """One try; for lakes on a store that signs no addresses, such as a local folder."""
    size_bytes = outgoing.digests.size_bytes
    url = lake.wire.server_url(
        "repositories", lake.repository, "branches", draft.branch, "objects", path=outgoing.path
    )
    headers = {f"x-lakefs-meta-{key}": value for key, value in outgoing.metadata.items()}
    headers["Content-Type"] = CONTENT_TYPE
    with CountedFile(outgoing, progress, 0, size_bytes) as body:
        stored = lake.wire.send("POST", url, body, size_bytes, headers)
        checksum = str(json.loads(stored.body)["checksum"]).strip('"')
        check_taken(outgoing, checksum, opaque=stored.opaque)

"""Large files in parts, several at a time, each to its own pre-signed URL."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from include.lake.connection import MODELS, Lake
from include.lake.errors import LakeError, UploadFailed
from include.lake.integrity import known_sha256
from include.lake.objects import stat_or_none
from include.lake.outgoing import CONTENT_TYPE, CountedFile, Outgoing, Progress, check_taken, content_md5
from include.spec.refs import DraftRef

PART_THREADS = 4
MOST_PARTS = 10_000


def send_parts(
    lake: Lake, draft: DraftRef, outgoing: Outgoing, progress: Progress | None, part_bytes: int
) -> None:
    """Upload a file in parts and stage it; where that fails the store is told to forget the parts.

    Raises:
        UploadFailed: The store took other bytes than were sent, or the file has too many parts.
        LakeError: The store or the server could not be asked.
    """
    parts = len(outgoing.digests.part_md5s)
    if parts > MOST_PARTS:
        raise UploadFailed(
            f"{outgoing.file} has {parts} parts of {part_bytes} bytes; a store takes {MOST_PARTS} at most",
            remedy="Give a larger part size: Parting(part_bytes=...).",
            path=outgoing.path,
        )
    api, names = lake.api.experimental_api, (lake.repository, draft.branch)
    begun = lake.call(lambda: api.create_presign_multipart_upload(*names, outgoing.path, parts=parts))
    try:
        etags = _send_all(lake, outgoing, progress, part_bytes, begun.presigned_urls)
        _complete(lake, draft, outgoing, begun, etags)
    except BaseException:
        forget = MODELS.AbortPresignMultipartUpload(physical_address=begun.physical_address)
        with suppress(LakeError):  # what the parts cost until the store expires them; the cause counts
            lake.call(
                lambda: api.abort_presign_multipart_upload(
                    *names, begun.upload_id, outgoing.path, abort_presign_multipart_upload=forget
                )
            )
        raise


def _send_all(
    lake: Lake, outgoing: Outgoing, progress: Progress | None, part_bytes: int, urls: list[str]
) -> list[str]:
    def send(index: int) -> str:
        return lake.call(lambda: _send_one(lake, outgoing, progress, part_bytes, index, urls[index]))

    with ThreadPoolExecutor(PART_THREADS, thread_name_prefix="part") as threads:
        futures = [threads.submit(send, index) for index in range(len(outgoing.digests.part_md5s))]
        try:
            return [future.result() for future in futures]
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise


def _send_one(
    lake: Lake, outgoing: Outgoing, progress: Progress | None, part_bytes: int, index: int, url: str
) -> str:
    first = index * part_bytes
    size_bytes = min(part_bytes, outgoing.digests.size_bytes - first)
    headers = {"Content-MD5": content_md5(outgoing.digests.part_md5s[index])}
    with CountedFile(outgoing, progress, first, size_bytes) as body:
        stored = lake.wire.send("PUT", url, body, size_bytes, headers)
        check_taken(outgoing, stored.etag, opaque=stored.opaque, part=index)
    return stored.etag


def _complete(lake: Lake, draft: DraftRef, outgoing: Outgoing, begun: Any, etags: list[str]) -> None:
    completion = MODELS.CompletePresignMultipartUpload(
        physical_address=begun.physical_address,
        parts=[MODELS.UploadPart(part_number=index + 1, etag=etag) for index, etag in enumerate(etags)],
        user_metadata=dict(outgoing.metadata),
        content_type=CONTENT_TYPE,
    )

    def arrived() -> str | None:
        staged = stat_or_none(lake, draft, outgoing.path)
        same = staged is not None and known_sha256(staged.metadata) == outgoing.digests.sha256
        return staged.checksum if staged is not None and same else None

    def complete() -> str:
        stats = lake.api.experimental_api.complete_presign_multipart_upload(
            lake.repository,
            draft.branch,
            begun.upload_id,
            outgoing.path,
            complete_presign_multipart_upload=completion,
        )
        return str(stats.checksum).strip('"')

    check_taken(outgoing, lake.call(complete, check=arrived), opaque=False)

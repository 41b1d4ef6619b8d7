"""Objects in S3, or whatever speaks its protocol, through one boto3 client."""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from include.stack.lakefs.blockstore.presign import Presigner
from include.stack.lakefs.blockstore.s3_streams import (
    MISSING,
    SCHEME,
    EmptyReader,
    S3Reader,
    S3Writer,
    error_code,
    errors_told,
    split,
)
from include.stack.lakefs.blockstore.store import Blob, NamespaceInUse, Reader, StorageError, full_uri
from include.stack.lakefs.options import S3Options

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

MARKER = "_lakefs/dummy"
MARKER_TEXT = b"this namespace belongs to a lakeFS repository"


class S3Store:
    """A blockstore in S3.

    Args:
        options: Where it is, and the keys.
        presign_expiry_s: How long pre-signed links hold.
        own_bucket: Bucket that is created where it is missing: that of the default namespace.
    """

    kind = "s3"
    namespace_pattern = r"^s3://"
    namespace_example = "s3://example-bucket/"
    presigns = True

    def __init__(self, options: S3Options, presign_expiry_s: int, own_bucket: str) -> None:
        self._options = options
        self._expiry_s = presign_expiry_s
        self._own_bucket = own_bucket
        self._lock = threading.Lock()

    @cached_property
    def client(self) -> "S3Client":
        """The one client; making it takes a third of a second, so not before it is needed."""
        with self._lock:
            return self._connect(self._options.endpoint)

    @cached_property
    def _presigner(self) -> Presigner:
        known = self._options
        endpoint = known.public_endpoint or known.endpoint or f"https://s3.{known.region}.amazonaws.com"
        return Presigner(endpoint, known.region, known.access_key_id, known.secret_access_key, self._expiry_s)

    def _connect(self, endpoint: str) -> "S3Client":
        import boto3
        from botocore.config import Config

        config = Config(
            signature_version="s3v4",
            s3={"addressing_style": "path" if endpoint else "auto"},
            max_pool_connections=64,
            connect_timeout=5,
            read_timeout=60,
            retries={"mode": "standard", "max_attempts": 3},
            # Trailing checksums are unknown to many servers that speak S3; the MD5 is ours.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        session = boto3.session.Session(
            aws_access_key_id=self._options.access_key_id,
            aws_secret_access_key=self._options.secret_access_key,
            region_name=self._options.region,
        )
        return session.client("s3", endpoint_url=endpoint or None, config=config)

    def claim_namespace(self, namespace: str) -> None:
        """See `Blockstore`."""
        bucket, key = split(full_uri(namespace, MARKER))
        with errors_told():
            self._make_own_bucket(bucket)
            try:
                self.client.head_object(Bucket=bucket, Key=key)
            except self.client.exceptions.ClientError as error:
                if error_code(error) not in MISSING:
                    raise
            else:
                raise NamespaceInUse(
                    f"found lakeFS objects in the storage namespace({namespace}) key({MARKER})"
                )
            self.client.put_object(
                Bucket=bucket, Key=key, Body=b"this namespace belongs to a lakeFS repository"
            )

    def _make_own_bucket(self, bucket: str) -> None:
        if bucket != self._own_bucket:
            return
        try:
            self.client.head_bucket(Bucket=bucket)
        except self.client.exceptions.ClientError as error:
            if error_code(error) not in MISSING:
                raise
            self.client.create_bucket(Bucket=bucket)

    def check_uri(self, uri: str) -> None:
        """See `Blockstore`."""
        split(uri)

    def writer(self, uri: str) -> "S3Writer":
        """See `Blockstore`."""
        return S3Writer(self.client, *split(uri))

    def read(self, uri: str, start: int, size: int) -> bytes:
        """See `Blockstore`."""
        reader = self.open(uri, start, size)
        try:
            return reader.read(size)
        finally:
            reader.close()

    def open(self, uri: str, start: int, size: int) -> Reader:
        """See `Blockstore`."""
        bucket, key = split(uri)
        if size == 0:
            return EmptyReader()
        with errors_told():
            found = self.client.get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-{start + size - 1}")
        return S3Reader(found["Body"])

    def stat(self, uri: str) -> Blob:
        """See `Blockstore`."""
        bucket, key = split(uri)
        with errors_told():
            found = self.client.head_object(Bucket=bucket, Key=key)
        return Blob(
            uri,
            key.rpartition("/")[2],
            found["ContentLength"],
            found["ETag"].strip('"'),
            int(found["LastModified"].timestamp()),
            found.get("StorageClass", "STANDARD"),
        )

    def walk(self, uri: str, *, checksums: bool = True) -> Iterator[Blob]:  # noqa: ARG002
        """See `Blockstore`."""
        bucket, prefix = split(uri, empty_key=True)
        cut = prefix.rfind("/") + 1
        with errors_told():
            for listing in self.client.get_paginator("list_objects_v2").paginate(
                Bucket=bucket, Prefix=prefix
            ):
                for found in listing.get("Contents", ()):
                    key = found["Key"]
                    yield Blob(
                        f"{SCHEME}{bucket}/{key}",
                        key[cut:],
                        found["Size"],
                        found["ETag"].strip('"'),
                        int(found["LastModified"].timestamp()),
                        found.get("StorageClass", "STANDARD"),
                    )

    def copy(self, source: str, target: str) -> None:
        """See `Blockstore`; large objects are copied in parts, all within S3."""
        bucket, key = split(target)
        source_bucket, source_key = split(source)
        with errors_told():
            self.client.copy({"Bucket": source_bucket, "Key": source_key}, bucket, key)

    def delete(self, uris: Iterable[str]) -> int:
        """See `Blockstore`."""
        handled = 0
        waiting: dict[str, list[str]] = {}
        for uri in uris:
            bucket, key = split(uri)
            keys = waiting.setdefault(bucket, [])
            keys.append(key)
            handled += 1
            if len(keys) == 1000:
                self._delete_keys(bucket, waiting.pop(bucket))
        for bucket, keys in waiting.items():
            self._delete_keys(bucket, keys)
        return handled

    def _delete_keys(self, bucket: str, keys: list[str]) -> None:
        with errors_told():
            answer = self.client.delete_objects(
                Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
            )
        failed = [e for e in answer.get("Errors", ()) if e.get("Code") not in MISSING]
        if failed:
            raise StorageError(f"{len(failed)} objects could not be deleted: {failed[0].get('Code')}")

    def presign(self, uri: str, *, write: bool = False) -> tuple[str, int]:
        """See `Blockstore`."""
        bucket, key = split(uri)
        link = self._presigner.link("PUT" if write else "GET", bucket, key)
        return link, int(time.time()) + self._expiry_s

    def create_upload(self, uri: str) -> str:
        """See `MultipartStore`."""
        bucket, key = split(uri)
        with errors_told():
            return self.client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]

    def presign_part(self, uri: str, upload_id: str, number: int) -> str:
        """See `MultipartStore`."""
        bucket, key = split(uri)
        return self._presigner.link("PUT", bucket, key, {"partNumber": str(number), "uploadId": upload_id})

    def copy_part(self, uri: str, upload_id: str, number: int, source: str, span: str) -> str:
        """See `MultipartStore`."""
        bucket, key = split(uri)
        source_bucket, source_key = split(source)
        asked: dict[str, Any] = {"CopySource": {"Bucket": source_bucket, "Key": source_key}}
        if span:
            asked["CopySourceRange"] = span
        with errors_told():
            copied = self.client.upload_part_copy(
                Bucket=bucket, Key=key, UploadId=upload_id, PartNumber=number, **asked
            )
        return copied["CopyPartResult"]["ETag"].strip('"')

    def complete_upload(self, uri: str, upload_id: str, parts: Sequence[tuple[int, str]]) -> Blob:
        """See `MultipartStore`."""
        bucket, key = split(uri)
        listed: list[CompletedPartTypeDef] = [{"PartNumber": number, "ETag": etag} for number, etag in parts]
        with errors_told():
            self.client.complete_multipart_upload(
                Bucket=bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": listed}
            )
        return self.stat(uri)

    def abort_upload(self, uri: str, upload_id: str) -> None:
        """See `MultipartStore`."""
        bucket, key = split(uri)
        with errors_told():
            self.client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)

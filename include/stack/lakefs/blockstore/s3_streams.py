"""Bytes to and from S3, and its errors in our own types."""

import contextlib
import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from include.stack.lakefs.blockstore.store import BytesMissing, StorageError, StorageFull, Written
from include.stack.lakefs.model import Invalid

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

SCHEME = "s3://"
PART_BYTES = 8 * 2**20
MISSING = frozenset({"NoSuchKey", "404", "NotFound", "NoSuchBucket"})


def split(uri: str, *, empty_key: bool = False) -> tuple[str, str]:
    """Bucket and key of an address.

    Raises:
        Invalid: It is not `s3://bucket/key`.
    """
    rest = uri.removeprefix(SCHEME)
    bucket, _, key = rest.partition("/")
    if rest == uri or not bucket or not (key or empty_key) or "\0" in key:
        raise Invalid(f"physical address is not valid for block adapter: s3: {uri}")
    return bucket, key


def error_code(error: Any) -> str:
    """The code of an error that S3 answered."""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextlib.contextmanager
def errors_told() -> Iterator[None]:
    """Tell errors of S3 in our own types, without keys or signatures."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = error_code(error)
        if code in MISSING:
            raise BytesMissing("No data") from error
        if code in ("NoSuchUpload", "InvalidPart", "InvalidPartOrder", "EntityTooSmall", "InvalidArgument"):
            raise Invalid(f"S3 refuses: {code}") from error
        if "full" in str(error).lower() or code in ("InsufficientStorage", "XMinioStorageFull"):
            raise StorageFull("no space left in the S3 blockstore") from error
        raise StorageError(f"the S3 blockstore refuses: {code}") from error
    except BotoCoreError as error:
        raise StorageError(f"the S3 blockstore cannot be reached: {type(error).__name__}") from error


class S3Reader:
    """Reads the body of an answer."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def read(self, size: int) -> bytes:
        """See `Reader`."""
        with errors_told():
            data: bytes = self._body.read(size)
        return data

    def close(self) -> None:
        """See `Reader`."""
        self._body.close()


class EmptyReader:
    """Reads an empty object, for which S3 refuses every range."""

    def read(self, size: int) -> bytes:  # noqa: ARG002
        """See `Reader`."""
        return b""

    def close(self) -> None:
        """See `Reader`."""


class S3Writer:
    """Uploads in one request, or in parts once there is more than fits into one part."""

    def __init__(self, client: "S3Client", bucket: str, key: str) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._waiting = bytearray()
        self._digest = hashlib.md5(usedforsecurity=False)
        self._size_bytes = 0
        self._upload_id = ""
        self._parts: list[CompletedPartTypeDef] = []

    def write(self, data: bytes) -> None:
        """See `Writer`."""
        self._digest.update(data)
        self._size_bytes += len(data)
        self._waiting += data
        while len(self._waiting) > PART_BYTES:
            self._send_part(bytes(self._waiting[:PART_BYTES]))
            del self._waiting[:PART_BYTES]

    def _send_part(self, data: bytes) -> None:
        number = len(self._parts) + 1
        with errors_told():
            if not self._upload_id:
                begun = self._client.create_multipart_upload(Bucket=self._bucket, Key=self._key)
                self._upload_id = begun["UploadId"]
            sent = self._client.upload_part(
                Bucket=self._bucket,
                Key=self._key,
                UploadId=self._upload_id,
                PartNumber=number,
                Body=data,
            )
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"]})

    def finish(self) -> Written:
        """See `Writer`."""
        if not self._upload_id:
            with errors_told():
                self._client.put_object(Bucket=self._bucket, Key=self._key, Body=bytes(self._waiting))
        else:
            self._send_part(bytes(self._waiting))
            with errors_told():
                self._client.complete_multipart_upload(
                    Bucket=self._bucket,
                    Key=self._key,
                    UploadId=self._upload_id,
                    MultipartUpload={"Parts": self._parts},
                )
        return Written(self._digest.hexdigest(), self._size_bytes)

    def abort(self) -> None:
        """See `Writer`."""
        self._waiting.clear()
        if self._upload_id:
            with errors_told():
                self._client.abort_multipart_upload(
                    Bucket=self._bucket, Key=self._key, UploadId=self._upload_id
                )

"""Our pre-signed links are those that botocore makes."""

import datetime
import time
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

import botocore.auth
import botocore.session
import pytest
from botocore.config import Config

from include.stack.lakefs.blockstore.presign import Presigner

NOW = datetime.datetime(2026, 2, 3, 4, 5, 6, tzinfo=datetime.UTC)
KEYS = ["data/abc", "a b+c%20d", "ü/€", "x//y", "~-_.", "q?&=#", "a'b(c)*!", "$,:;@"]
ENDPOINTS = ["http://127.0.0.1:8333", "https://s3.example", "http://s3.example:80", "https://s3.example:443"]


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "gmtime", lambda: NOW.timetuple())
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: NOW.replace(tzinfo=None))


@lru_cache
def client_of(endpoint: str) -> Any:
    return botocore.session.get_session().create_client(
        "s3",
        endpoint_url=endpoint,
        region_name="eu-west-1",
        aws_access_key_id="AKIA/x",
        aws_secret_access_key="secret",
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )


def theirs(endpoint: str, operation: str, key: str, **parameters: object) -> str:
    asked = {"Bucket": "bucket", "Key": key, **parameters}
    return str(client_of(endpoint).generate_presigned_url(operation, Params=asked, ExpiresIn=900))


def same(ours: str, expected: str) -> None:
    left, right = urlsplit(ours), urlsplit(expected)
    assert (left.scheme, left.path) == (right.scheme, right.path)
    assert parse_qs(left.query) == parse_qs(right.query)
    assert "X-Amz-Signature" in parse_qs(left.query)


@pytest.mark.usefixtures("frozen")
@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("key", KEYS)
def test_links_are_botocores(endpoint, key):
    presigner = Presigner(endpoint, "eu-west-1", "AKIA/x", "secret", 900)
    same(presigner.link("GET", "bucket", key), theirs(endpoint, "get_object", key))
    same(presigner.link("PUT", "bucket", key), theirs(endpoint, "put_object", key))
    part = {"partNumber": "7", "uploadId": "a/b+c="}
    expected = theirs(endpoint, "upload_part", key, PartNumber=7, UploadId="a/b+c=")
    same(presigner.link("PUT", "bucket", key, part), expected)

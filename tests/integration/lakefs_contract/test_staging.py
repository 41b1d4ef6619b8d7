"""Bytes that go straight to the object store: pre-signed PUT and link, pre-signed multipart, lost bytes."""

import hashlib
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
import lakefs_sdk
import pytest

pytestmark = pytest.mark.integration
sdk: Any = lakefs_sdk

PART = 5 * 2**20


@pytest.fixture
def presigned(target):
    if not target.storage.pre_sign_support:
        pytest.skip("this blockstore cannot pre-sign, and says so in /config")
    return target.api.staging_api


def linked(location, data, **options):
    return sdk.StagingMetadata(
        staging=location,
        checksum=options.pop("checksum", hashlib.md5(data, usedforsecurity=False).hexdigest()),
        size_bytes=len(data),
        **options,
    )


def upload(location, data):
    answer = httpx.put(location.presigned_url, content=data)
    assert answer.status_code == 200, answer.text
    return answer.headers["ETag"].strip('"')


def test_put_then_link(target, presigned, repo, main, content_at):
    location = presigned.get_physical_address(repo.id, "main", "a/b", presign=True)
    assert location.physical_address.startswith(repo.properties.storage_namespace)
    assert location.presigned_url.startswith("http")
    assert location.presigned_url_expiry is None or location.presigned_url_expiry > time.time()
    checksum = upload(location, b"data")
    assert not main.object("a/b").exists()
    metadata = linked(
        location, b"data", checksum=checksum, user_metadata={"k": "v"}, content_type="text/plain"
    )
    stat = presigned.link_physical_address(repo.id, "main", "a/b", metadata)
    assert (stat.path, stat.size_bytes, stat.checksum) == ("a/b", 4, checksum)
    assert (stat.metadata, stat.content_type) == ({"k": "v"}, "text/plain")
    assert stat.physical_address == location.physical_address
    assert content_at("main", "a/b") == "data"
    assert [change.path for change in main.uncommitted()] == ["a/b"]


def test_presigned_urls_carry_no_secret(target, presigned, repo):
    location = presigned.get_physical_address(repo.id, "main", "a", presign=True)
    assert target.secret_access_key not in location.presigned_url
    assert urlsplit(location.presigned_url).query


def test_without_presign_only_an_address(target, repo):
    location = target.api.staging_api.get_physical_address(repo.id, "main", "a")
    assert location.physical_address.startswith(repo.properties.storage_namespace)
    assert not location.presigned_url


def test_presign_where_it_is_not_supported_is_400(target, repo, refuses):
    if target.storage.pre_sign_support:
        pytest.skip("this blockstore can pre-sign")
    with refuses(400):
        target.api.staging_api.get_physical_address(repo.id, "main", "a", presign=True)


def test_an_address_is_linked_once(presigned, repo, refuses):
    location = presigned.get_physical_address(repo.id, "main", "a", presign=True)
    upload(location, b"data")
    presigned.link_physical_address(repo.id, "main", "a", linked(location, b"data"))
    with refuses(400):
        presigned.link_physical_address(repo.id, "main", "b", linked(location, b"data"))


def test_an_address_that_was_never_issued_is_400(target, repo, main, refuses):
    api = target.api.staging_api
    issued = api.get_physical_address(repo.id, "main", "a").physical_address
    for address in (issued + "x", repo.properties.storage_namespace + "/data/made/up"):
        location = sdk.StagingLocation(physical_address=address)
        with refuses(400):
            api.link_physical_address(repo.id, "main", "a", linked(location, b"data"))
    assert not main.object("a").exists()


def test_link_if_none_match(presigned, repo, main, put, refuses, content_at):
    put(main, "a", content="first")
    location = presigned.get_physical_address(repo.id, "main", "a", presign=True)
    upload(location, b"second")
    with refuses(412):
        presigned.link_physical_address(repo.id, "main", "a", linked(location, b"second"), if_none_match="*")
    assert content_at("main", "a") == "first"


def test_missing_branch_and_repository_are_404(target, repo, refuses):
    api = target.api.staging_api
    with refuses(404):
        api.get_physical_address(repo.id, "none", "a")
    with refuses(404):
        api.get_physical_address("no-such-repository", "main", "a")


@pytest.fixture
def multipart(target):
    raw = target.http.get("/config").json()["storage_config"]
    if not raw.get("pre_sign_multipart_upload"):
        pytest.skip("this blockstore has no pre-signed multipart upload, and says so in /config")
    return target.api.experimental_api


def test_multipart_upload(multipart, repo, main):
    parts = [b"a" * PART, b"b" * 1000]
    created = multipart.create_presign_multipart_upload(repo.id, "main", "big", parts=2)
    assert created.upload_id
    assert len(created.presigned_urls) == 2
    etags = []
    for url, part in zip(created.presigned_urls, parts, strict=True):
        answer = httpx.put(url, content=part, timeout=30)
        assert answer.status_code == 200
        etags.append(answer.headers["ETag"])
    assert not main.object("big").exists()
    stat = multipart.complete_presign_multipart_upload(
        repo.id,
        "main",
        created.upload_id,
        "big",
        sdk.CompletePresignMultipartUpload(
            physical_address=created.physical_address,
            parts=[sdk.UploadPart(part_number=n, etag=etag) for n, etag in enumerate(etags, 1)],
            user_metadata={"k": "v"},
            content_type="text/plain",
        ),
    )
    assert stat.size_bytes == PART + 1000
    found = main.object("big").stat()
    assert (found.metadata, found.content_type, found.checksum) == ({"k": "v"}, "text/plain", stat.checksum)
    with main.object("big").reader() as reader:
        assert reader.read() == b"".join(parts)


def test_multipart_abort(multipart, repo, main, refuses):
    created = multipart.create_presign_multipart_upload(repo.id, "main", "big", parts=1)
    multipart.abort_presign_multipart_upload(
        repo.id,
        "main",
        created.upload_id,
        "big",
        sdk.AbortPresignMultipartUpload(physical_address=created.physical_address),
    )
    completion = sdk.CompletePresignMultipartUpload(
        physical_address=created.physical_address, parts=[sdk.UploadPart(part_number=1, etag='"x"')]
    )
    with pytest.raises(sdk.ApiException):
        multipart.complete_presign_multipart_upload(repo.id, "main", created.upload_id, "big", completion)
    assert not main.object("big").exists()


def test_multipart_where_it_is_not_supported_is_501(target, repo, refuses):
    if target.http.get("/config").json()["storage_config"].get("pre_sign_multipart_upload"):
        pytest.skip("this blockstore has it")
    with refuses(501):
        target.api.experimental_api.create_presign_multipart_upload(repo.id, "main", "big", parts=1)


def test_bytes_lost_from_the_store_are_410(target, http, repo, main, put):
    if target.s3 is None:
        pytest.skip("the store's bytes cannot be removed from here")
    put(main, "a", content="data")
    where = urlsplit(main.object("a").stat().physical_address)
    target.s3.delete_object(Bucket=where.netloc, Key=where.path.lstrip("/"))
    answer = http.get(f"/repositories/{repo.id}/refs/main/objects?path=a")
    assert answer.status_code == 410
    assert answer.json()["message"]

import hashlib
import socket
from base64 import b64encode
from typing import Any
from urllib.parse import urlsplit

import lakefs_sdk
import pytest
from lakefs.exceptions import ObjectExistsException

pytestmark = pytest.mark.integration
sdk: Any = lakefs_sdk


def test_upload_answers_201_with_the_stat(http, repo, target):
    url = f"/repositories/{repo.id}/branches/main/objects?path=a/b.bin"
    headers = {"Content-Type": "application/x-thing", "x-lakefs-meta-Owner": "me", "x-lakefs-meta-n_1": "2"}
    answer = http.post(url, content=b"hello", headers=headers)
    assert answer.status_code == 201
    body = answer.json()
    assert body["path"] == "a/b.bin"
    assert body["path_type"] == "object"
    assert body["checksum"] == hashlib.md5(b"hello", usedforsecurity=False).hexdigest()
    assert body["size_bytes"] == 5
    assert body["content_type"] == "application/x-thing"
    assert body["metadata"] == {"owner": "me", "n_1": "2"}
    assert body["physical_address"].startswith(target.namespace_prefix)
    assert http.get(f"/repositories/{repo.id}/refs/main/objects/stat?path=a/b.bin").json() == body


def test_multipart_form_upload(http, repo, content_at):
    url = f"/repositories/{repo.id}/branches/main/objects?path=form"
    answer = http.post(url, files={"content": ("name.csv", b"x,y", "text/csv")})
    assert answer.status_code == 201
    assert answer.json()["content_type"] == "text/csv"
    assert content_at("main", "form") == "x,y"


def test_generated_client_upload(api, repo, tmp_path, content_at):
    file = tmp_path / "file.txt"
    file.write_text("from a file")
    stat = api.objects_api.upload_object(repo.id, "main", "generated", content=str(file))
    assert stat.size_bytes == len("from a file")
    assert content_at("main", "generated") == "from a file"


def test_overwrite_replaces_content_type_and_metadata(main, put):
    put(main, "a", content="1", metadata={"k": "1"}, content_type="text/plain")
    put(main, "a", content="22")
    stat = main.object("a").stat()
    assert (stat.size_bytes, stat.metadata) == (2, {})
    assert stat.content_type == "application/octet-stream"


def test_if_none_match_creates_only(main, http, repo, put, content_at):
    put(main, "a", content="first", mode="x")
    with pytest.raises(ObjectExistsException):
        put(main, "a", content="second", mode="x")
    url = f"/repositories/{repo.id}/branches/main/objects?path=a"
    answer = http.post(url, content=b"second", headers={"If-None-Match": "*"})
    assert answer.status_code == 412
    assert answer.json()["message"]
    main.commit("first")
    assert http.post(url, content=b"second", headers={"If-None-Match": "*"}).status_code == 412
    assert content_at("main", "a") == "first"
    main.object("a").delete()
    assert http.post(url, content=b"second", headers={"If-None-Match": "*"}).status_code == 201
    assert content_at("main", "a") == "second"


def test_other_if_none_match_values_are_400(http, repo):
    url = f"/repositories/{repo.id}/branches/main/objects?path=a"
    assert http.post(url, content=b"x", headers={"If-None-Match": '"etag"'}).status_code == 400


def test_if_match_replaces_only_what_is_there(http, repo, main, put, content_at):
    url = f"/repositories/{repo.id}/branches/main/objects?path=a"
    put(main, "a", content="first")
    etag = http.head(f"/repositories/{repo.id}/refs/main/objects?path=a").headers["ETag"]
    assert http.post(url, content=b"second", headers={"If-Match": etag}).status_code == 201
    assert http.post(url, content=b"third", headers={"If-Match": etag}).status_code == 412
    assert content_at("main", "a") == "second"


def test_upload_to_a_missing_branch_is_404(repo, put, refuses):
    with refuses(404):
        put(repo.branch("none"), "a")


def test_sdk_round_trip_with_metadata(target, main):
    metadata = {"owner": "me", "with-dash": "x y z"}
    for pre_sign in {False, target.storage.pre_sign_support}:
        obj = main.object("a").upload(b"data", pre_sign=pre_sign, metadata=metadata, content_type="text/x")
        stat = obj.stat()
        assert (stat.metadata, stat.content_type, stat.size_bytes) == (metadata, "text/x", 4)
        assert stat.checksum == hashlib.md5(b"data", usedforsecurity=False).hexdigest()


def test_exclusive_create_by_pre_sign(target, main):
    if not target.storage.pre_sign_support:
        pytest.skip("this blockstore cannot pre-sign, and says so in /config")
    main.object("a").upload(b"first", mode="xb", pre_sign=True)
    with pytest.raises(ObjectExistsException):
        main.object("a").upload(b"second", mode="xb", pre_sign=True)


def test_writer_writes_on_close_only(main):
    obj = main.object("a")
    with obj.writer(mode="w", content_type="text/csv") as writer:
        writer.write("1,2\n")
        assert not obj.exists()
        writer.write("3,4\n")
    with obj.reader(mode="r") as reader:
        assert list(reader) == ["1,2\n", "3,4\n"]


def test_delete(main, commit, refuses, paths_at):
    commit(main, "one", "a", "b")
    main.object("a").delete()
    assert paths_at(main) == ["b"]
    with refuses(404):
        main.object("a").stat()
    main.object("a").delete()
    main.object("never-was").delete()
    assert [(change.type, change.path) for change in main.uncommitted()] == [("removed", "a")]


def test_delete_of_absent_answers_204_on_absent_branch_404(http, repo):
    url = f"/repositories/{repo.id}/branches/{{}}/objects?path=none"
    assert http.delete(url.format("main")).status_code == 204
    assert http.delete(url.format("nobranch")).status_code == 404


def test_delete_many(main, commit, paths_at, http, repo):
    commit(main, "one", "a", "b", "c/d", "e f")
    main.delete_objects(["a", "c/d", "absent", "e f"])
    assert paths_at(main) == ["b"]
    answer = http.post(f"/repositories/{repo.id}/branches/main/objects/delete", json={"paths": ["b", "x"]})
    assert (answer.status_code, answer.json()) == (200, {"errors": []})
    assert paths_at(main) == []


def test_delete_more_than_a_thousand_at_once_is_refused(main, put):
    put(main, "p0")
    with pytest.raises(Exception, match=r"exceed|limit|max"):
        main.delete_objects([f"p{number}" for number in range(1001)])
    assert main.object("p0").exists()


def test_copy_is_a_new_object_with_the_same_identity(repo, main, put, content_at):
    put(main, "a", content="data", metadata={"k": "v"}, content_type="text/plain")
    copy = repo.ref("main").object("a").copy("main", "dir/copy")
    before, after = main.object("a").stat(), copy.stat()
    assert after.path == "dir/copy"
    assert after.physical_address != before.physical_address
    for field in ("checksum", "size_bytes", "content_type", "metadata"):
        assert getattr(after, field) == getattr(before, field)
    assert after.mtime >= before.mtime
    assert content_at("main", "dir/copy") == "data"


def test_copy_from_another_ref(repo, main, commit, content_at):
    first = commit(main, "one", "a", content="1")
    commit(main, "two", "a", content="2")
    repo.branch("b").create("main")
    repo.ref(first).object("a").copy("b", "old")
    assert content_at("b", "old") == "1"
    assert not main.object("old").exists()


def test_copy_of_and_to_what_is_not_there_is_404(repo, main, put, refuses):
    put(main, "a")
    with refuses(404):
        repo.ref("main").object("none").copy("main", "b")
    with refuses(404):
        repo.ref("main").object("a").copy("none", "b")


def test_copy_without_a_source_ref_takes_the_destination_branch(api, repo, main, put):
    put(main, "a")
    api.objects_api.copy_object(repo.id, "main", "b", sdk.ObjectCopyCreation(src_path="a"))
    assert main.object("b").exists()


def test_update_user_metadata(api, repo, main, put, refuses):
    put(main, "a", metadata={"old": "1"}, content_type="text/plain")
    main.commit("one")
    change = sdk.UpdateObjectUserMetadata(set={"new": "2"})
    api.objects_api.update_object_user_metadata(repo.id, "main", "a", change)
    stat = main.object("a").stat()
    assert (stat.metadata, stat.content_type) == ({"new": "2"}, "text/plain")
    assert [(found.type, found.path) for found in main.uncommitted()] == [("changed", "a")]
    with refuses(404):
        api.objects_api.update_object_user_metadata(repo.id, "main", "none", change)


def test_stage_object_by_its_physical_address(api, repo, main, put, content_at):
    put(main, "a", content="data")
    stat = main.object("a").stat()
    creation = sdk.ObjectStageCreation(
        physical_address=stat.physical_address,
        checksum="any",
        size_bytes=4,
        metadata={"k": "v"},
        mtime=1_500_000_000,
    )
    staged = api.internal_api.stage_object(repo.id, "main", "linked", creation)
    assert (staged.checksum, staged.mtime) == ("any", 1_500_000_000)
    assert staged.physical_address == stat.physical_address
    assert content_at("main", "linked") == "data"


def test_stage_object_of_another_kind_of_store_is_400(api, repo, refuses):
    creation = sdk.ObjectStageCreation(physical_address="gs://b/x", checksum="any", size_bytes=4)
    with refuses(400):
        api.internal_api.stage_object(repo.id, "main", "linked", creation)


def test_path_length_is_bounded_at_1024_bytes(main, put, refuses):
    put(main, "p" * 1024)
    assert main.object("p" * 1024).exists()
    with refuses(400):
        put(main, "p" * 1025)


def test_upload_of_a_broken_body_leaves_nothing(target, repo, main):
    """A client that promises more bytes than it sends must not create an object."""
    where = urlsplit(target.endpoint)
    token = b64encode(f"{target.access_key_id}:{target.secret_access_key}".encode()).decode()
    request = (
        f"POST /api/v1/repositories/{repo.id}/branches/main/objects?path=cut HTTP/1.1\r\n"
        f"Host: {where.netloc}\r\nAuthorization: Basic {token}\r\nContent-Length: 1000\r\n\r\nonly this"
    )
    assert where.hostname
    with socket.create_connection((where.hostname, where.port or 80), timeout=10) as connection:
        connection.sendall(request.encode())
        connection.shutdown(socket.SHUT_WR)
        connection.recv(4096)
    assert not main.object("cut").exists()

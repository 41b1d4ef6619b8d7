"""What answers at all: methods, paths, bodies, sizes, credentials."""

import stat
from dataclasses import replace

import httpx
import pytest

from include.stack.lakefs.app import make_app
from include.stack.lakefs.options import Options, OptionsError, read_options
from include.stack.lakefs.security import Gatekeeper, Unauthorized
from include.stack.lakefs.service import open_service

OPEN = [("GET", "/healthcheck", 204), ("GET", "/setup_lakefs", 200), ("POST", "/setup_lakefs", 409)]
BASIC = ("key", "secret")


@pytest.mark.parametrize(("method", "path", "status"), OPEN)
async def test_open_paths_need_no_credentials(api, method, path, status):
    assert (await api.request(method, path, auth=None)).status_code == status


@pytest.mark.parametrize("auth", [None, ("key", "wrong"), ("other", "secret"), ("", ""), ("key", "")])
async def test_wrong_credentials_are_401_with_a_message(api, auth):
    for path in ("/config", "/repositories", "/no/such/path"):
        answer = await api.get(path, auth=auth)
        assert answer.status_code == 401
        assert answer.json() == {"message": "error authenticating request"}


@pytest.mark.parametrize("value", ["Basic", "Basic !!!", "Basic a2V5", "Bearer", "Bearer a.b.c", "Digest x"])
async def test_malformed_authorization_is_401(api, value):
    assert (await api.get("/config", auth=None, headers={"Authorization": value})).status_code == 401


async def test_login_gives_a_token_that_opens(api):
    body = {"access_key_id": "key", "secret_access_key": "secret"}
    token = (await api.post("/auth/login", json=body, auth=None)).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert (await api.get("/user", auth=None, headers=headers)).json()["user"]["id"] == "admin"
    for bad in (token[:-2], token + "x", ".".join(reversed(token.split(".")))):
        answer = await api.get("/user", auth=None, headers={"Authorization": f"Bearer {bad}"})
        assert answer.status_code == 401
    wrong = await api.post("/auth/login", json={**body, "secret_access_key": "x"}, auth=None)
    assert (wrong.status_code, wrong.json()) == (401, {"message": "error authenticating request"})


def test_tokens_of_others_and_unsigned_ones_are_refused(options):
    import jwt

    gatekeeper = Gatekeeper(options)
    claims = {"sub": "admin", "aud": "login", "exp": 4_000_000_000}
    good = jwt.encode(claims, gatekeeper._token_secret, algorithm="HS256")
    assert gatekeeper.identify(f"Bearer {good}") == "admin"
    forged = [
        jwt.encode(claims, "another secret that is long enough", algorithm="HS256"),
        jwt.encode(claims, "", algorithm="none"),
        jwt.encode({**claims, "exp": 1}, gatekeeper._token_secret, algorithm="HS256"),
        jwt.encode({**claims, "aud": "other"}, gatekeeper._token_secret, algorithm="HS256"),
        jwt.encode({"sub": "admin", "aud": "login"}, gatekeeper._token_secret, algorithm="HS256"),
    ]
    for token in forged:
        with pytest.raises(Unauthorized):
            gatekeeper.identify(f"Bearer {token}")


def test_secrets_are_kept_with_mode_0600_and_reused(tmp_path):
    first = read_options(data_dir=tmp_path, port=1, blockstore="local", environment={})
    again = read_options(data_dir=tmp_path, port=1, blockstore="local", environment={})
    assert (first.access_key_id, first.secret_access_key) == (again.access_key_id, again.secret_access_key)
    assert len(first.secret_access_key) >= 32
    token = Gatekeeper(first).login(first.access_key_id, first.secret_access_key)[0]
    assert Gatekeeper(again).identify(f"Bearer {token}") == "admin"
    for name in ("credentials", "token_secret"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert first.secret_access_key not in repr(first)


@pytest.mark.parametrize(
    ("environment", "blockstore", "says"),
    [
        ({"HEADRACE_LAKEFS_ACCESS_KEY_ID": "k"}, "local", "Only one of"),
        ({"HEADRACE_LAKEFS_SECRET_ACCESS_KEY": "k"}, "local", "Only one of"),
        ({}, "s3", "HEADRACE_S3_ACCESS_KEY_ID"),
        ({}, "gs", "s3 or local"),
    ],
)
def test_bad_options_name_what_is_wrong(tmp_path, environment, blockstore, says):
    with pytest.raises(OptionsError, match=says):
        read_options(data_dir=tmp_path, port=1, blockstore=blockstore, environment=environment)


async def test_unknown_paths_are_404_and_unknown_methods_405(api, repo):
    unknown = await api.get("/no/such/path")
    assert (unknown.status_code, unknown.headers["content-type"]) == (404, "application/json")
    assert "API endpoint not found" in unknown.json()["message"]
    assert (await api.get("http://lake/elsewhere")).json() == {"message": "not found: /elsewhere"}
    assert (await api.patch(repo)).status_code == 405
    assert (await api.get("http://lake/_health", auth=None)).status_code == 204


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"name": 1, "source": "main"}', b'{"name": "b"}', b"\xff"]
)
async def test_bad_json_is_400_with_a_message(api, repo, body):
    answer = await api.post(f"{repo}/branches", content=body)
    assert answer.status_code == 400
    assert "request body" in answer.json()["message"]


@pytest.mark.parametrize(
    "query",
    ["amount=x", "amount=1001", "amount=-2", "presign=maybe", "user_metadata=2"],
)
async def test_bad_query_values_are_400(api, repo, query):
    answer = await api.get(f"{repo}/refs/main/objects/ls?{query}")
    assert (answer.status_code, "parameter" in answer.json()["message"]) == (400, True)


async def test_segments_are_split_before_they_are_unquoted(api, repo):
    tag = {"id": "a/b", "ref": "main"}
    assert (await api.post(f"{repo}/tags", json=tag)).status_code == 201
    assert (await api.get(f"{repo}/tags/a%2Fb")).json()["id"] == "a/b"
    assert (await api.get(f"{repo}/tags/%ff")).status_code == 400
    assert (await api.get("/repositories/..%2F..%2Fetc")).status_code == 404


async def test_unsupported_operations_are_501_and_say_so(api, repo):
    for method, path in (("GET", f"{repo}/pulls"), ("POST", "/auth/groups"), ("PUT", f"{repo}/refs/dump")):
        answer = await api.request(method, path)
        assert answer.status_code == 501
        assert answer.json()["message"].startswith("not supported by this server: ")


@pytest.fixture
async def small(options: Options):
    """A server that takes bodies of a thousand bytes."""
    service = open_service(replace(options, max_json_bytes=1000, max_object_bytes=1000))
    transport = httpx.ASGITransport(app=make_app(service))
    async with httpx.AsyncClient(transport=transport, base_url="http://lake/api/v1", auth=BASIC) as client:
        body = {"name": "tests", "storage_namespace": "local://tests"}
        assert (await client.post("/repositories", json=body)).status_code == 201
        yield client, service
    service.close()


async def pieces(count: int):
    for _ in range(count):
        yield b"x" * 500


@pytest.mark.parametrize("content", [b" " * 1001, pieces(3)], ids=["with length", "chunked"])
async def test_large_json_is_413(small, content):
    client, _ = small
    answer = await client.post("/repositories", content=content)
    assert (answer.status_code, answer.json()) == (413, {"message": "body is larger than 1000 bytes"})


@pytest.mark.parametrize("content", [b"x" * 1001, pieces(3)], ids=["with length", "chunked"])
async def test_large_objects_are_413_and_leave_nothing(small, content):
    client, service = small
    url = "/repositories/tests/branches/main/objects?path=a"
    answer = await client.post(url, content=content)
    assert (answer.status_code, answer.json()) == (413, {"message": "body is larger than 1000 bytes"})
    assert (await client.get("/repositories/tests/refs/main/objects/stat?path=a")).status_code == 404
    assert [blob.key for blob in service.blockstore.walk("local://tests/data/")] == []
    assert (await client.post(url, content=pieces(2))).status_code == 201


async def test_statistics_are_checked_and_dropped(api):
    event = {"class": "test", "name": "run", "count": 1}
    assert (await api.post("/statistics", json={"events": [event]})).status_code == 204
    assert (await api.post("/statistics", json={"events": [{**event, "count": -1}]})).status_code == 400


async def test_configuration_is_what_clients_need(api):
    found = (await api.get("/config")).json()
    assert [int(part) for part in found["version_config"]["version"].split(".")] == [1, 88, 0]
    storage = found["storage_config"]
    assert storage["blockstore_namespace_ValidityRegex"] == "^local://"
    assert (storage["pre_sign_support"], storage["pre_sign_multipart_upload"]) == (False, False)
    assert (await api.get("/config/version")).json() == found["version_config"]
    assert (await api.get("/config/storage")).json() == storage

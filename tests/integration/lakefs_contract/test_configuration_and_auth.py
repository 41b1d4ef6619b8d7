import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import lakefs
import lakefs_sdk
import pytest

pytestmark = pytest.mark.integration
sdk: Any = lakefs_sdk


@pytest.fixture
def anonymous(target: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{target.endpoint}/api/v1", timeout=30) as client:
        yield client


def test_config_tells_version_and_storage(target, http):
    body = http.get("/config").json()
    version = body["version_config"]["version"]
    assert all(part.isdigit() for part in version.split(".")), version
    assert len(version.split(".")) == 3
    storage = body["storage_config"]
    assert {
        "blockstore_type",
        "blockstore_namespace_example",
        "blockstore_namespace_ValidityRegex",
        "pre_sign_support",
        "pre_sign_support_ui",
        "import_support",
        "import_validity_regex",
    } <= set(storage)
    assert re.match(storage["blockstore_namespace_ValidityRegex"], target.namespace("x"))
    assert re.match(storage["blockstore_namespace_ValidityRegex"], storage["blockstore_namespace_example"])
    if target.embedded:
        assert storage["blockstore_type"] == target.name
        assert storage["pre_sign_support"] is (target.name == "s3")


def test_sdk_reads_version_and_storage_config(target):
    assert target.client.version.count(".") == 2
    assert isinstance(target.storage.pre_sign_support, bool)
    assert target.storage.blockstore_type in {"s3", "local", "gs", "azure", "mem"}


def test_health_check_needs_no_credentials(anonymous):
    assert anonymous.get("/healthcheck").status_code == 204


def test_setup_state_says_initialized_without_credentials(anonymous):
    answer = anonymous.get("/setup_lakefs")
    assert answer.status_code == 200
    assert answer.json()["state"] == "initialized"


@pytest.mark.parametrize(
    "path", ["/config", "/repositories", "/repositories/any-repo/branches/main", "/user"]
)
def test_no_credentials_is_401_with_a_message(anonymous, path):
    answer = anonymous.get(path)
    assert answer.status_code == 401
    assert answer.json()["message"]


@pytest.mark.parametrize("which", ["secret", "key", "both"])
def test_wrong_keys_are_401(target, anonymous, which):
    key = "AKIAWRONGWRONGWRONGQ" if which in {"key", "both"} else target.access_key_id
    secret = "not-the-secret" if which in {"secret", "both"} else target.secret_access_key
    answer = anonymous.get("/repositories", auth=(key, secret))
    assert answer.status_code == 401
    assert answer.json()["message"]


@pytest.mark.parametrize(
    "header", ["Basic", "Basic !!!", "Basic bm9jb2xvbg==", "Bearer", "Bearer x.y.z", "Digest a=b", "nonsense"]
)
def test_malformed_authorization_is_401(anonymous, header):
    assert anonymous.get("/repositories", headers={"Authorization": header}).status_code == 401


def test_sdk_with_wrong_keys_raises_not_authorized(target):
    client = lakefs.Client(host=target.endpoint, username=target.access_key_id, password="wrong")
    with pytest.raises(lakefs.exceptions.NotAuthorizedException):
        list(lakefs.repositories(client=client))


def test_login_gives_a_token_that_works_as_bearer(target, anonymous, repo):
    answer = anonymous.post(
        "/auth/login",
        json={"access_key_id": target.access_key_id, "secret_access_key": target.secret_access_key},
    )
    assert answer.status_code == 200
    token = answer.json()["token"]
    assert answer.json()["token_expiration"] > time.time()
    anonymous.cookies.clear()
    assert anonymous.get("/repositories", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    tampered = token[:-4] + ("AAAA" if not token.endswith("AAAA") else "BBBB")
    assert anonymous.get("/repositories", headers={"Authorization": f"Bearer {tampered}"}).status_code == 401
    configuration = sdk.Configuration(host=f"{target.endpoint}/api/v1", access_token=token)
    client = sdk.client.LakeFSClient(configuration)
    assert client.repositories_api.get_repository(repo.id).id == repo.id


def test_login_with_wrong_keys_is_401(target, anonymous):
    keys = {"access_key_id": target.access_key_id, "secret_access_key": "wrong"}
    assert anonymous.post("/auth/login", json=keys).status_code == 401


def test_current_user(api):
    assert api.auth_api.get_current_user().user.id


def test_committer_is_the_user(api, main, commit):
    commit(main, "who", "a")
    assert main.get_commit().committer


def test_errors_are_json_messages(http, repo):
    for path in (
        "/repositories/no-such-repo",
        f"/repositories/{repo.id}/branches/none",
        f"/repositories/{repo.id}/commits/none",
        f"/repositories/{repo.id}/refs/main/objects?path=none",
        f"/repositories/{repo.id}/tags/none",
    ):
        answer = http.get(path)
        assert answer.status_code == 404, path
        assert list(answer.json()) == ["message"], path
        assert answer.json()["message"], path


def test_malformed_bodies_are_400(http, repo):
    for body in (b"", b"{", b"[]", b'"x"', b"{}", b'{"name": 5}'):
        answer = http.post(
            f"/repositories/{repo.id}/branches", content=body, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 400, body
        assert answer.json()["message"], body

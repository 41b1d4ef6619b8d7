"""The targets of the contract suite: what it says holds for the embedded server and for a real lakeFS.

Set HEADRACE_TEST_LAKEFS_ENDPOINT, _ACCESS_KEY_ID and _SECRET_ACCESS_KEY (and _STORAGE_NAMESPACE, where the
server has no default prefix) to run the same cases against an external server.
"""

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import boto3
import httpx
import lakefs
import lakefs_sdk
import pytest
from lakefs.client import ServerConfiguration
from lakefs.exceptions import ServerException

EXTERNAL = "HEADRACE_TEST_LAKEFS_"
sdk: Any = lakefs_sdk


@dataclass(frozen=True)
class Target:
    """A running server and how to reach it."""

    name: str
    endpoint: str
    access_key_id: str
    secret_access_key: str
    namespace_prefix: str
    client: lakefs.Client
    http: httpx.Client
    s3: Any = None
    bucket: str = ""

    @property
    def api(self) -> Any:
        return self.client.sdk_client

    @property
    def storage(self) -> Any:
        return self.client.storage_config

    @property
    def embedded(self) -> bool:
        return self.name != "external"

    def namespace(self, name: str) -> str:
        return f"{self.namespace_prefix.rstrip('/')}/{name}"


def client_of(endpoint: str, access_key_id: str, secret_access_key: str) -> lakefs.Client:
    """A client with a storage configuration of its own: the SDK keeps that one on the class."""
    client = lakefs.Client(host=endpoint, username=access_key_id, password=secret_access_key)
    configuration = ServerConfiguration(client)
    configuration._storage_conf = dict(configuration._storage_conf)
    client._server_conf = configuration
    return client


def targets() -> list[str]:
    return ["s3", "local", *(["external"] if os.environ.get(EXTERNAL + "ENDPOINT") else [])]


def _embedded(name: str, request: pytest.FixtureRequest, prefix: str) -> tuple[str, str, str, str, Any, str]:
    server = request.getfixturevalue("lake_server" if name == "s3" else "lake_server_local")
    keys = (server.endpoint, server.access_key_id, server.secret_access_key)
    if name == "local":
        return (*keys, f"local://{prefix}", None, "")
    store = request.getfixturevalue("seaweedfs")
    s3 = boto3.client(
        "s3",
        endpoint_url=store.endpoint,
        aws_access_key_id=store.access_key,
        aws_secret_access_key=store.secret_key,
        region_name=store.region,
    )
    s3.create_bucket(Bucket=prefix)
    return (*keys, f"s3://{prefix}", s3, prefix)


def _external(prefix: str) -> tuple[str, str, str, str, Any, str]:
    endpoint, key, secret = (
        os.environ[EXTERNAL + p] for p in ("ENDPOINT", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY")
    )
    namespace: str | None = os.environ.get(EXTERNAL + "STORAGE_NAMESPACE")
    if namespace is None:
        namespace = client_of(endpoint, key, secret).storage_config.default_namespace_prefix
    assert namespace, "the server has no default namespace prefix: set HEADRACE_TEST_LAKEFS_STORAGE_NAMESPACE"
    return endpoint, key, secret, f"{namespace.rstrip('/')}/{prefix}", None, ""


@pytest.fixture(scope="session", params=targets())
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    name = cast(str, request.param)
    prefix = f"contract-{uuid.uuid4().hex[:8]}"
    found = _external(prefix) if name == "external" else _embedded(name, request, prefix)
    client = client_of(*found[:3])
    endpoint, key, secret, namespace_prefix, s3, bucket = found
    with httpx.Client(base_url=f"{endpoint}/api/v1", auth=(key, secret), timeout=30) as http:
        yield Target(name, endpoint, key, secret, namespace_prefix, client, http, s3, bucket)


@pytest.fixture
def new_repository(target: Target) -> Iterator[Callable[..., lakefs.Repository]]:
    """Makes repositories of its own name and namespace, and deletes them afterwards."""
    made: list[lakefs.Repository] = []

    def make(**options: Any) -> lakefs.Repository:
        name = options.pop("name", f"contract-{uuid.uuid4().hex[:12]}")
        repository = lakefs.Repository(name, client=target.client)
        repository.create(target.namespace(uuid.uuid4().hex), **options)
        made.append(repository)
        return repository

    yield make
    for repository in made:
        with contextlib.suppress(ServerException):
            repository.delete(force=True)


@pytest.fixture
def repo(new_repository: Callable[..., lakefs.Repository]) -> lakefs.Repository:
    return new_repository()


@pytest.fixture
def main(repo: lakefs.Repository) -> lakefs.Branch:
    return repo.branch("main")


@pytest.fixture
def api(target: Target) -> Any:
    return target.api


@pytest.fixture
def http(target: Target) -> httpx.Client:
    return target.http


@pytest.fixture
def refuses() -> Callable[..., contextlib.AbstractContextManager[Any]]:
    """`with refuses(404, says="branch")`: the server answers that status with a JSON message."""

    @contextlib.contextmanager
    def check(*statuses: int, says: str = "") -> Iterator[Any]:
        with pytest.raises((ServerException, sdk.ApiException)) as caught:
            yield caught
        error: Any = caught.value
        status = error.status_code if isinstance(error, ServerException) else error.status
        assert status in statuses, f"{status}, not {statuses}: {error}"
        assert says.lower() in str(error).lower()

    return check


@pytest.fixture
def put() -> Callable[..., Any]:
    """Uploads text objects: `put(branch, "a", "b/c")` or `put(branch, a="content")`."""

    def upload(branch: Any, *paths: str, content: str | None = None, **options: Any) -> None:
        for path in paths:
            data = path if content is None else content
            branch.object(path).upload(data=data, pre_sign=False, **options)

    return upload


@pytest.fixture
def commit(put: Callable[..., Any]) -> Callable[..., str]:
    """Uploads the paths with a content of the message and commits them; returns the commit id."""

    def make(branch: Any, message: str, *paths: str, content: str | None = None, **options: Any) -> str:
        put(branch, *paths, content=message if content is None else content)
        return cast(str, branch.commit(message, **options).id)

    return make


@pytest.fixture
def paths_at() -> Callable[..., list[str]]:
    def listing(ref: Any, **options: Any) -> list[str]:
        return [entry.path for entry in ref.objects(**options)]

    return listing


@pytest.fixture
def content_at(repo: lakefs.Repository) -> Callable[[str, str], str]:
    def read(ref: str, path: str) -> str:
        with repo.ref(ref).object(path).reader(mode="r", pre_sign=False) as reader:
            return cast(str, reader.read())

    return read

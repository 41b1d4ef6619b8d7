"""The lake server by itself: started with flags of the test's choice, or in the test's own process."""

import dataclasses
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import lakefs
import pytest

from include.stack import lake_server
from include.stack.credentials import KeyPair
from include.stack.lakefs.app import make_app
from include.stack.lakefs.options import Options, read_options
from include.stack.lakefs.service import Service, open_service
from include.stack.ports import free_ports
from include.stack.server import running


@dataclasses.dataclass(frozen=True)
class Started:
    """A server of a test."""

    access: lake_server.LakeAccess
    folder: Path
    log: Path

    @property
    def http(self) -> httpx.Client:
        keys = (self.access.access_key_id, self.access.secret_access_key)
        return httpx.Client(base_url=f"{self.access.endpoint}/api/v1", auth=keys, timeout=60)

    @property
    def client(self) -> lakefs.Client:
        return lakefs.Client(
            host=self.access.endpoint,
            username=self.access.access_key_id,
            password=self.access.secret_access_key,
        )


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """Starts lake servers over local folders; they are stopped with the test."""
    with ExitStack() as stack:

        def begin(
            folder: Path | None = None, *, quickstart: bool = False, s3: Any = None, **environment: str
        ) -> Started:
            keys = KeyPair.generate()
            folder = folder or tmp_path / "data"
            made = lake_server.server(folder, free_ports(1)[0], keys, s3, quickstart=quickstart)
            made = dataclasses.replace(made, environment={**made.environment, **environment})
            server = stack.enter_context(running(made, timeout_s=30))
            return Started(lake_server.LakeAccess(server.url, keys), folder, folder)

        yield begin


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """Of a server over a local folder, with the keys `key` and `secret`."""
    environment = {"HEADRACE_LAKEFS_ACCESS_KEY_ID": "key", "HEADRACE_LAKEFS_SECRET_ACCESS_KEY": "secret"}
    return read_options(data_dir=tmp_path / "data", port=0, blockstore="local", environment=environment)


@pytest.fixture
def service(options: Options) -> Iterator[Service]:
    opened = open_service(options)
    yield opened
    opened.close()


@pytest.fixture
async def api(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """The application in this process, called as the administrator."""
    transport = httpx.ASGITransport(app=make_app(service), raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://lake/api/v1", auth=("key", "secret"), timeout=30
    ) as client:
        yield client


@pytest.fixture
async def repo(api: httpx.AsyncClient) -> str:
    body = {"name": "tests", "storage_namespace": "local://tests"}
    assert (await api.post("/repositories", json=body)).status_code == 201
    return "/repositories/tests"

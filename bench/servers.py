"""The servers that lake benches run against, for as long as a block lasts."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from pydantic import SecretStr

from include.settings import Settings
from include.stack import lake_server, seaweedfs
from include.stack.credentials import KeyPair
from include.stack.ports import free_ports
from include.stack.server import running

BUCKET = "headrace-lake"


@dataclass(frozen=True)
class Servers:
    """A lake server and the object store under it; `s3` is None where objects go to a folder."""

    lake: lake_server.LakeAccess
    s3: seaweedfs.S3Access | None

    def settings(self, home: Path, repository: str) -> Settings:
        """Settings of our own client for a repository on these servers."""
        namespace = f"s3://{BUCKET}" if self.s3 else "local://bench"
        return Settings(
            home=home,
            lakefs_endpoint=self.lake.endpoint,
            lakefs_access_key_id=self.lake.access_key_id,
            lakefs_secret_access_key=SecretStr(self.lake.secret_access_key),
            lake_repository=repository,
            lake_storage_namespace=f"{namespace}/{repository}",
        )

    def s3_client(self) -> Any:
        """A plain boto3 client of the object store."""
        assert self.s3 is not None
        return boto3.client(
            "s3",
            endpoint_url=self.s3.endpoint,
            aws_access_key_id=self.s3.access_key,
            aws_secret_access_key=self.s3.secret_key,
            region_name=self.s3.region,
        )


@contextlib.contextmanager
def serving(work: Path, blockstore: str) -> Iterator[Servers]:
    """Run them: `s3` or `local`."""
    with contextlib.ExitStack() as stack:
        store = None
        if blockstore == "s3":
            ports = dict(zip(seaweedfs.PORTS, free_ports(len(seaweedfs.PORTS)), strict=True))
            keys = KeyPair.generate()
            server = seaweedfs.server(work / "seaweedfs", ports, keys, (BUCKET,))
            store = seaweedfs.S3Access(stack.enter_context(running(server)).url, keys)
        keys = KeyPair.generate()
        lake = lake_server.server(work / f"lakefs-{blockstore}", free_ports(1)[0], keys, store)
        yield Servers(lake_server.LakeAccess(stack.enter_context(running(lake)).url, keys), store)

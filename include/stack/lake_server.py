"""The lake server: the lakeFS protocol over our S3 store or over a local folder."""

import sys
from dataclasses import dataclass
from pathlib import Path

from include.stack.credentials import KeyPair
from include.stack.health import answers
from include.stack.ports import LOOPBACK
from include.stack.seaweedfs import NAME as SEAWEEDFS
from include.stack.seaweedfs import S3Access
from include.stack.server import Server

NAME = "lakefs"
PORT = ("HEADRACE_LAKEFS_PORT", 8000)


@dataclass(frozen=True)
class LakeAccess:
    """How a client reaches the lake server."""

    endpoint: str
    keys: KeyPair

    @property
    def access_key_id(self) -> str:
        """The access key id."""
        return self.keys.access_key_id

    @property
    def secret_access_key(self) -> str:
        """The secret access key."""
        return self.keys.secret_access_key

    def environment(self) -> dict[str, str]:
        """The same as the variables that our settings and the lake server read."""
        return {
            "HEADRACE_LAKEFS_ENDPOINT": self.endpoint,
            "HEADRACE_LAKEFS_ACCESS_KEY_ID": self.access_key_id,
            "HEADRACE_LAKEFS_SECRET_ACCESS_KEY": self.secret_access_key,
        }


def server(
    folder: Path, port: int, keys: KeyPair, s3: S3Access | None, *, quickstart: bool = False
) -> Server:
    """The lake server with its state in `folder`; objects go to `s3`, or into `folder` where it is None."""
    access = LakeAccess(f"http://{LOOPBACK}:{port}", keys)
    command = (
        sys.executable,
        "-m",
        "include.stack.lakefs",
        f"--port={port}",
        f"--host={LOOPBACK}",
        f"--data={folder}",
        f"--blockstore={'local' if s3 is None else 's3'}",
        *(["--quickstart"] if quickstart else []),
    )
    return Server(
        name=NAME,
        command=command,
        environment={**access.environment(), **({} if s3 is None else s3.environment())},
        folder=folder,
        url=access.endpoint,
        health=answers(f"{access.endpoint}/_health"),
        after=() if s3 is None else (SEAWEEDFS,),
        ports={PORT[0]: port},
    )

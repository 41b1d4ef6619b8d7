"""The lake server: the lakeFS protocol over our S3 store or over a local folder."""

import base64
import json
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from include.stack.credentials import KeyPair
from include.stack.health import OPENER, answers
from include.stack.ports import LOOPBACK
from include.stack.seaweedfs import NAME as SEAWEEDFS
from include.stack.seaweedfs import S3Access
from include.stack.server import Server, StackError

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


def ensure_repository(access: LakeAccess, name: str, storage_namespace: str) -> None:
    """Make the repository where there is none, and let its branch `main` change by merges only.

    Raises:
        StackError: The lake server refuses.
    """
    repository = f"/repositories/{name}"
    if _request(access, "GET", repository, accepted=(404,)) is None:
        new = {"name": name, "storage_namespace": storage_namespace, "default_branch": "main"}
        _request(access, "POST", "/repositories", new)
    rules = [{"pattern": "main", "blocked_actions": ["staging_write", "commit"]}]
    protection = f"{repository}/settings/branch_protection"
    if _request(access, "GET", protection) != rules:
        _request(access, "PUT", protection, rules)


def _request(
    access: LakeAccess, method: str, path: str, body: object = None, accepted: tuple[int, ...] = ()
) -> object:
    """The answer of the lake server; None for an empty one and for an error in `accepted`."""
    token = base64.b64encode(f"{access.access_key_id}:{access.secret_access_key}".encode()).decode()
    request = urllib.request.Request(  # noqa: S310 - always http, to loopback
        f"{access.endpoint}/api/v1{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Basic {token}", "Content-Type": "application/json"},
    )
    try:
        with OPENER.open(request, timeout=30) as response:
            text = response.read()
    except urllib.error.HTTPError as error:
        if error.code in accepted:
            return None
        raise StackError(
            f"The lake server refused {method} {path} with {error.code}: {error.read().decode()[:500]}"
        ) from error
    except OSError as error:
        raise StackError(f"The lake server did not answer {method} {path}: {error}") from error
    return json.loads(text) if text else None

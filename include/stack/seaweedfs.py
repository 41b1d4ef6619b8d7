"""SeaweedFS: the S3 store, one process with master, volume, filer and gateway.

Four defaults are changed: telemetry, buckets made by any PUT (a typing error would make one), listeners for
every interface, and a filer and volumes that anyone may read and write over HTTP. The last one with CORS open
to every origin: a page in the browser of this machine could have read the lake. They now want a signed token.
"""

import hmac
import http.client
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from include.stack.credentials import KeyPair
from include.stack.health import OPENER, TIMEOUT_S
from include.stack.ports import LOOPBACK
from include.stack.presign import presigned
from include.stack.server import Server

NAME = "seaweedfs"
REGION = "us-east-1"
MEMORY_LIMIT = "300MiB"

# Flag of `weed mini` by the variable that sets it; without the grpc ones it would add 10000 to each port.
PORTS: Mapping[str, tuple[str, int]] = {
    "HEADRACE_S3_PORT": ("s3.port", 8333),
    "HEADRACE_S3_GRPC_PORT": ("s3.port.grpc", 18333),
    "HEADRACE_SEAWEEDFS_MASTER_PORT": ("master.port", 9333),
    "HEADRACE_SEAWEEDFS_MASTER_GRPC_PORT": ("master.port.grpc", 19333),
    "HEADRACE_SEAWEEDFS_VOLUME_PORT": ("volume.port", 9340),
    "HEADRACE_SEAWEEDFS_VOLUME_GRPC_PORT": ("volume.port.grpc", 19340),
    "HEADRACE_SEAWEEDFS_FILER_PORT": ("filer.port", 8888),
    "HEADRACE_SEAWEEDFS_FILER_GRPC_PORT": ("filer.port.grpc", 18888),
    # Opened even where the admin pages are off.
    "HEADRACE_SEAWEEDFS_ADMIN_PORT": ("admin.port", 23646),
    "HEADRACE_SEAWEEDFS_ADMIN_GRPC_PORT": ("admin.port.grpc", 13646),
}

# What the parts of the store sign for each other, and for nobody else.
_TOKENS = ("SIGNING", "SIGNING_READ", "FILER_SIGNING", "FILER_SIGNING_READ")
PROBE_BUCKET = "headrace-health"
PROBE = b"headrace"


@dataclass(frozen=True)
class S3Access:
    """How a client reaches the store."""

    endpoint: str
    keys: KeyPair
    region: str = REGION

    @property
    def access_key(self) -> str:
        """The access key id."""
        return self.keys.access_key_id

    @property
    def secret_key(self) -> str:
        """The secret access key."""
        return self.keys.secret_access_key

    def environment(self) -> dict[str, str]:
        """The same as the variables that our settings and the lake server read."""
        return {
            "HEADRACE_S3_ENDPOINT": self.endpoint,
            "HEADRACE_S3_REGION": self.region,
            "HEADRACE_S3_ACCESS_KEY_ID": self.access_key,
            "HEADRACE_S3_SECRET_ACCESS_KEY": self.secret_key,
        }


def server(folder: Path, ports: Mapping[str, int], keys: KeyPair, buckets: tuple[str, ...] = ()) -> Server:
    """The store with its data in `folder` and with `buckets`; `ports` by the variables of `PORTS`."""
    url = f"http://{LOOPBACK}:{ports['HEADRACE_S3_PORT']}"
    secret = keys.secret_access_key.encode()
    signing = {use: hmac.digest(secret, use.encode(), "sha256").hex() for use in _TOKENS}
    access = S3Access(url, keys)
    flags = {flag: ports[variable] for variable, (flag, _) in PORTS.items()}
    command = (
        str(Path(sys.executable).with_name("weed")),
        "-logtostderr=true",
        "mini",
        "-dir=.",  # its working folder: a comma in a path would end it
        f"-ip={LOOPBACK}",
        f"-ip.bind={LOOPBACK}",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=1024",
        "-webdav=false",
        "-admin.ui=false",
        "-s3.autoCreateBucket=false",
        "-s3.port.lance=0",
        "-s3.port.iceberg=0",
        # Made in this order, some 0.3 s after the gateway answers first.
        f"-bucket={','.join([*buckets, PROBE_BUCKET])}",
        *(f"-{flag}={port}" for flag, port in flags.items()),
    )
    return Server(
        name=NAME,
        command=command,
        environment={
            "AWS_ACCESS_KEY_ID": keys.access_key_id,
            "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
            **{f"WEED_JWT_{use}_KEY": key for use, key in signing.items()},
            "GOMEMLIMIT": MEMORY_LIMIT,
            "GOMAXPROCS": str(min(4, os.cpu_count() or 1)),
        },
        folder=folder,
        url=url,
        health=lambda: _probe(access) is not None,
        settle=lambda: _keep_probe(access),
        ports={variable: ports[variable] for variable in PORTS},
    )


def _probe(access: S3Access) -> bool | None:
    """Whether the probe object is there; None while the store cannot say.

    After a restart the gateway knows its objects before it knows the volumes that hold them, and answers 500
    for a second or so: so only a read through all its parts shows that it is up.
    """
    try:
        with OPENER.open(_probe_url(access, "GET"), timeout=TIMEOUT_S) as response:
            return bool(response.read() == PROBE)
    except urllib.error.HTTPError as error:
        return False if error.code == 404 and b"NoSuchKey" in error.read() else None
    except (OSError, http.client.HTTPException):
        return None


def _keep_probe(access: S3Access) -> None:
    if not _probe(access):
        request = urllib.request.Request(_probe_url(access, "PUT"), data=PROBE, method="PUT")  # noqa: S310
        OPENER.open(request, timeout=30).close()


def _probe_url(access: S3Access, method: str) -> str:
    url = f"{access.endpoint}/{PROBE_BUCKET}/probe"
    return presigned(method, url, access.access_key, access.secret_key, access.region)

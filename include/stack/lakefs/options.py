"""What the lake server is told at its start: flags, and secrets from the environment only."""

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from include.spec.errors import HeadraceError

API_VERSION = "1.88.0"
"""The lakeFS API that is followed: that of `lakefs-sdk` of the same version."""

DEFAULT_PORT = 8000


class OptionsError(HeadraceError):
    """The server cannot start with these flags or this environment."""


@dataclass(frozen=True)
class S3Options:
    """Where the S3 blockstore is.

    Args:
        endpoint: URL of the S3 server as this process reaches it; "" for AWS.
        public_endpoint: URL that pre-signed links carry, for clients that reach it elsewhere.
        region: Region that requests are signed for.
        access_key_id: Its key.
        secret_access_key: Its secret.
    """

    endpoint: str
    public_endpoint: str
    region: str
    access_key_id: str
    secret_access_key: str = field(repr=False)


@dataclass(frozen=True)
class Options:
    """All that a server needs.

    Args:
        data_dir: Folder of the metadata, the token secret and, for a local blockstore, the objects.
        host: Address to listen on.
        port: Port to listen on.
        blockstore: Kind of blockstore.
        default_namespace: Prefix that clients are told to put storage namespaces under.
        access_key_id: The administrator's key.
        secret_access_key: The administrator's secret.
        user: The administrator's name, committer of what is done with that key.
        s3: Where the S3 blockstore is.
        quickstart: Seed the repository `quickstart`.
        hook_variables_prefix: Hooks expand `{{ ENV.X }}` for variables that begin so; "" for none.
        presign_expiry_s: How long pre-signed links hold.
        max_json_bytes: Largest JSON body that is read.
        max_object_bytes: Largest object that is taken through the server.
    """

    data_dir: Path
    host: str
    port: int
    blockstore: Literal["s3", "local"]
    default_namespace: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    user: str
    s3: S3Options
    quickstart: bool = False
    hook_variables_prefix: str = ""
    presign_expiry_s: int = 900
    max_json_bytes: int = 16 * 2**20
    max_object_bytes: int = 64 * 2**30


def read_options(
    *,
    data_dir: Path,
    port: int,
    host: str = "127.0.0.1",
    blockstore: str = "s3",
    quickstart: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Options:
    """Join flags and environment; generates and keeps administrator credentials where none are given.

    Raises:
        OptionsError: An unknown blockstore, one key without the other, or an S3 blockstore without keys.
    """
    env = os.environ if environment is None else environment
    kind: Literal["s3", "local"] = "local" if blockstore == "local" else "s3"
    if blockstore not in ("s3", "local"):
        raise OptionsError(f"--blockstore is {blockstore!r}", remedy="It is s3 or local.")
    data_dir = data_dir.expanduser().absolute()
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    key_id, secret = _administrator(env, data_dir)
    return Options(
        data_dir=data_dir,
        host=host,
        port=port,
        blockstore=kind,
        default_namespace=_default_namespace(env, kind),
        access_key_id=key_id,
        secret_access_key=secret,
        user=env.get("HEADRACE_LAKEFS_USER") or "admin",
        s3=_s3(env, required=kind == "s3"),
        quickstart=quickstart,
        hook_variables_prefix=env.get("HEADRACE_LAKEFS_HOOK_VARIABLES_PREFIX", ""),
    )


def _default_namespace(env: Mapping[str, str], kind: str) -> str:
    given = env.get("HEADRACE_LAKEFS_DEFAULT_NAMESPACE")
    if given:
        return given.rstrip("/")
    if kind == "local":
        return "local://headrace"
    return (env.get("HEADRACE_LAKE_STORAGE_NAMESPACE") or "s3://headrace-lake").rstrip("/")


def _s3(env: Mapping[str, str], *, required: bool) -> S3Options:
    found = S3Options(
        endpoint=env.get("HEADRACE_S3_ENDPOINT", "http://127.0.0.1:8333"),
        public_endpoint=env.get("HEADRACE_S3_PUBLIC_ENDPOINT", ""),
        region=env.get("HEADRACE_S3_REGION") or "us-east-1",
        access_key_id=env.get("HEADRACE_S3_ACCESS_KEY_ID", ""),
        secret_access_key=env.get("HEADRACE_S3_SECRET_ACCESS_KEY", ""),
    )
    if required and not (found.access_key_id and found.secret_access_key):
        raise OptionsError(
            "The S3 blockstore has no keys",
            remedy="Set HEADRACE_S3_ACCESS_KEY_ID and HEADRACE_S3_SECRET_ACCESS_KEY, or --blockstore local.",
        )
    return found


def _administrator(env: Mapping[str, str], data_dir: Path) -> tuple[str, str]:
    key_id = env.get("HEADRACE_LAKEFS_ACCESS_KEY_ID", "")
    secret = env.get("HEADRACE_LAKEFS_SECRET_ACCESS_KEY", "")
    if bool(key_id) != bool(secret):
        raise OptionsError(
            "Only one of HEADRACE_LAKEFS_ACCESS_KEY_ID and HEADRACE_LAKEFS_SECRET_ACCESS_KEY is set",
            remedy="Set both, or neither to have them generated.",
        )
    if key_id:
        return key_id, secret
    kept = kept_secret(data_dir / "credentials", lambda: f"{_new_key_id()}\n{secrets.token_urlsafe(30)}")
    key_id, _, secret = kept.partition("\n")
    return key_id, secret.strip()


def _new_key_id() -> str:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    return "AKIAJ" + "".join(secrets.choice(alphabet) for _ in range(15))


def kept_secret(path: Path, make: Callable[[], str]) -> str:
    """Return the text of a file with mode 0600, which `make` fills on first use."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="utf-8")
    text = make()
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return text

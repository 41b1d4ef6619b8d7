"""A folder on an SFTP server, whose host key is known beforehand: a server with another one is not asked."""

import base64
import binascii
import io
import sys
import threading
from typing import Any
from urllib.parse import unquote, urlsplit

from include.ingestion.connectors.access import setting
from include.settings import Settings
from include.spec.errors import HeadraceError
from include.spec.reads import Sftp

DEFAULT_PORT = 22
TIMEOUT_S = 30


class SftpError(HeadraceError):
    """The server could not be reached, is not the one that is trusted, or did not let us in."""


def sftp_filesystem(settings: Settings, address: str, keys: Sftp | None) -> tuple[Any, str, str]:
    """The file system of a server, the folder, and how to show it.

    Args:
        settings: Hold the secrets.
        address: `sftp://user@host:port/folder`, without a password.
        keys: Name the fields of the settings.

    Raises:
        SftpError: See there.
    """
    parts = urlsplit(address)
    shown = f"sftp://{parts.hostname}{parts.path}".rstrip("/")
    if keys is None or not parts.username or not parts.hostname or parts.password:
        raise SftpError(
            f"{shown} is not enough to read over SFTP.",
            remedy="Accepted: an address sftp://user@host:port/folder, and sftp=Sftp(...) for the secrets.",
        )
    import paramiko

    secret: dict[str, Any] = {}
    if keys.password is not None:
        secret["password"] = setting(settings, keys.password)
    else:
        secret["pkey"] = _private_key(setting(settings, str(keys.private_key)), str(keys.private_key))

    try:
        filesystem = _channel_per_thread()(
            parts.hostname,
            port=parts.port or DEFAULT_PORT,
            username=unquote(parts.username),
            host_key_policy=_only(setting(settings, keys.host_key), keys.host_key, shown),
            look_for_keys=False,
            allow_agent=False,
            skip_instance_cache=True,
            **dict.fromkeys(("timeout", "banner_timeout", "auth_timeout", "channel_timeout"), TIMEOUT_S),
            **secret,
        )
    except (paramiko.SSHException, OSError, EOFError) as error:
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise SftpError(
            f"{shown}: the server did not let us in: {said}.",
            remedy="See that it runs, and that user, secret and host key in the settings are right.",
        ) from None
    return filesystem, parts.path.rstrip("/"), shown


def _channel_per_thread() -> Any:
    """The class of file systems whose threads share a connection and nothing else."""
    from fsspec.implementations.sftp import SFTPFileSystem

    channels = threading.local()

    class ChannelPerThread(SFTPFileSystem):  # type: ignore[misc]  # untyped
        """A channel must not be read by two threads at a time; a connection may have many."""

        @property
        def ftp(self) -> Any:
            if not hasattr(channels, "ftp"):
                channels.ftp = self.client.open_sftp()
                channels.ftp.get_channel().settimeout(TIMEOUT_S)
            return channels.ftp

        @ftp.setter
        def ftp(self, first: Any) -> None:
            first.close()

    return ChannelPerThread


def broke_off(error: BaseException) -> bool:
    """Whether an error is of the connection, and not of what a file holds."""
    kinds: tuple[type[BaseException], ...] = (TimeoutError, ConnectionError)
    if "paramiko" in sys.modules:
        import paramiko

        kinds += (paramiko.SSHException, paramiko.SFTPError)
    return isinstance(error, kinds)


def _only(trusted: str, named: str, shown: str) -> Any:
    """The policy that takes one key and no other."""
    import paramiko

    words = trusted.split()
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (IndexError, binascii.Error):
        raise SftpError(
            f"HEADRACE_{named.upper()} holds no host key.",
            remedy="Accepted: type and key as ssh-keyscan prints them: ssh-ed25519 AAAA...",
        ) from None

    class OnlyThisKey(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]  # untyped
        def missing_host_key(self, _client: Any, _hostname: str, key: Any) -> None:
            if key.asbytes() != blob:
                raise SftpError(
                    f"{shown}: the server's host key is {key.get_name()} {key.get_base64()}, "
                    f"not the one that is trusted.",
                    remedy=f"If the server's key was changed for a reason, correct HEADRACE_{named.upper()}.",
                )

    return OnlyThisKey()


def _private_key(text: str, named: str) -> Any:
    import paramiko

    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key(io.StringIO(text))
        except (paramiko.SSHException, ValueError, IndexError):
            continue
    raise SftpError(
        f"HEADRACE_{named.upper()} holds no private key that can be read.",
        remedy="Accepted: the text of an OpenSSH key file (Ed25519, ECDSA, RSA) without a passphrase.",
    )

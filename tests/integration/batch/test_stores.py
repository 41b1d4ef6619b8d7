"""Files on a real SFTP server whose host key is known, and in an S3 bucket."""

import gzip
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import paramiko
import pytest
from pyarrow.fs import S3FileSystem
from pydantic import SecretStr

from include.ingestion.connectors.access import SettingMissing
from include.ingestion.connectors.files import FileStore
from include.ingestion.connectors.sftp import SftpError
from include.spec.reads import Files, Sftp
from include.spec.source import Column, Source, Table
from include.stack.seaweedfs import S3Access

pytestmark = pytest.mark.integration

PASSWORD = "s3cret-of-the-test"
BY_PASSWORD = Sftp(host_key="partner_host_key", password="partner_password")


class Folder(paramiko.SFTPServerInterface):  # type: ignore[misc]  # untyped
    """Serves the folder that the process's test names in `root`."""

    root: Path

    def _real(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def list_folder(self, path):
        found = []
        for entry in self._real(path).iterdir():
            attributes = paramiko.SFTPAttributes.from_stat(entry.stat())
            attributes.filename = entry.name
            found.append(attributes)
        return found

    def stat(self, path):
        try:
            return paramiko.SFTPAttributes.from_stat(self._real(path).stat())
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)

    lstat = stat

    def open(self, path, flags, _attributes):
        handle = paramiko.SFTPHandle(flags)
        handle.readfile = self._real(path).open("rb")
        return handle


class Doorman(paramiko.ServerInterface):  # type: ignore[misc]  # untyped
    """Lets `partner` in, by the password or by the key."""

    keys: tuple[bytes, ...] = ()

    def check_auth_password(self, username, password):
        fits = (username, password) == ("partner", PASSWORD)
        return paramiko.AUTH_SUCCESSFUL if fits else paramiko.AUTH_FAILED

    def check_auth_publickey(self, username, key):
        fits = username == "partner" and key.asbytes() in self.keys
        return paramiko.AUTH_SUCCESSFUL if fits else paramiko.AUTH_FAILED

    def get_allowed_auths(self, _username):
        return "password,publickey"

    def check_channel_request(self, _kind, _number):
        return paramiko.OPEN_SUCCEEDED


@pytest.fixture
def sftp(settings, tmp_path: Path) -> Iterator:
    """Settings of a server that serves a folder, and the folder."""
    host_key, user_key = paramiko.ECDSAKey.generate(), paramiko.ECDSAKey.generate()
    folder = tmp_path / "served" / "out"
    folder.mkdir(parents=True)
    Folder.root, Doorman.keys = folder.parent, (user_key.asbytes(),)
    listener = socket.create_server(("127.0.0.1", 0))
    transports = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(host_key)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, Folder)
            transports.append(transport)
            try:
                transport.start_server(server=Doorman())
            except (paramiko.SSHException, EOFError):
                continue

    Thread(target=serve, daemon=True).start()
    key_file = tmp_path / "key"
    user_key.write_private_key_file(str(key_file))
    port = listener.getsockname()[1]
    yield (
        settings.model_copy(
            update={
                "partner_bucket": f"sftp://partner@127.0.0.1:{port}/out",
                "partner_host_key": f"{host_key.get_name()} {host_key.get_base64()}",
                "partner_password": SecretStr(PASSWORD),
                "partner_key": SecretStr(key_file.read_text()),
            }
        ),
        folder,
    )
    listener.close()
    for transport in transports:
        transport.close()


def a_source(sftp: Sftp | None) -> Source:
    read = Files(bucket="partner_bucket", pattern="*.jsonl.gz", format="jsonl", sftp=sftp)
    columns = (Column(name="id", type="int64"), Column(name="name", type="string", nullable=True))
    table = Table(name="events", description="x", read=read, columns=columns)
    return Source(name="partner", owner="p@example.com", description="x", tables=(table,))


def packed(*ids: int) -> bytes:
    return gzip.compress("".join(f"{json.dumps({'id': number})}\n" for number in ids).encode())


@pytest.mark.parametrize("keys", [BY_PASSWORD, Sftp(host_key="partner_host_key", private_key="partner_key")])
def test_files_of_an_sftp_server_are_published_and_read_again_only_when_they_change(shelf, sftp, keys):
    settings, folder = sftp
    (folder / "a.jsonl.gz").write_bytes(packed(*range(50_000)))
    (folder / "b.jsonl.gz").write_bytes(packed(50_000))
    (folder / "readme.txt").write_text("no")
    here, source = shelf(**settings.model_dump()), a_source(keys)
    assert here.land(source).rows == 50_001
    assert sorted(row["id"] for row in here.rows(source)) == list(range(50_001))
    os.utime(folder / "a.jsonl.gz", (1, folder.stat().st_mtime))
    assert here.land(source).changed is False
    (folder / "b.jsonl.gz").write_bytes(packed(50_000, 50_001))
    assert here.land(source).rows == 50_002


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"partner_host_key": None}, "not the one that is trusted"),
        ({"partner_password": SecretStr("wrong")}, "did not let us in"),
        ({"partner_bucket": "sftp://partner@127.0.0.1:1/out"}, "did not let us in"),
        ({"partner_bucket": "sftp://127.0.0.1/out"}, "not enough to read over SFTP"),
        ({"partner_host_key": "trust me"}, "holds no host key"),
    ],
)
def test_a_server_that_is_not_trusted_or_does_not_trust_us_is_one_error(sftp, changed, said):
    settings, _ = sftp
    if changed.get("partner_host_key", "") is None:
        other = paramiko.ECDSAKey.generate()
        changed = {"partner_host_key": f"{other.get_name()} {other.get_base64()}"}
    with pytest.raises(SftpError) as caught:
        FileStore(settings.model_copy(update=changed), "partner_bucket", BY_PASSWORD)
    assert said in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_without_a_host_key_no_server_is_asked(sftp):
    settings, _ = sftp
    with pytest.raises(SettingMissing, match="HEADRACE_PARTNER_HOST_KEY"):
        FileStore(settings.model_copy(update={"partner_host_key": ""}), "partner_bucket", BY_PASSWORD)


def test_files_below_a_prefix_of_a_bucket(settings, seaweedfs: S3Access, shelf):
    keys = {"access_key": seaweedfs.access_key, "secret_key": seaweedfs.secret_key}
    s3 = S3FileSystem(endpoint_override=seaweedfs.endpoint, region=seaweedfs.region, **keys)
    with s3.open_output_stream("headrace-landing/partner/in/a.jsonl.gz", compression=None) as stream:
        stream.write(packed(1, 2))
    with s3.open_output_stream("headrace-landing/partner/in/deeper/b.jsonl.gz", compression=None) as stream:
        stream.write(packed(3))
    here = shelf(
        partner_bucket="s3://headrace-landing/partner/in",
        s3_endpoint=seaweedfs.endpoint,
        s3_access_key_id=seaweedfs.access_key,
        s3_secret_access_key=SecretStr(seaweedfs.secret_key),
    )
    source = a_source(None)
    assert [row["id"] for row in (here.land(source), here.rows(source))[1]] == [1, 2]

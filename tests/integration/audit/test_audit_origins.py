"""Rows of landed files are counted on a real object store."""

import gzip

from pyarrow import fs

from include.audit.origins import landed_rows
from include.settings import Settings


def test_rows_of_landed_files_are_counted(seaweedfs):
    keys = seaweedfs.keys
    settings = Settings(
        _env_file=None,  # type: ignore[call-arg]
        s3_endpoint=seaweedfs.endpoint,
        s3_access_key_id=keys.access_key_id,
        s3_secret_access_key=keys.secret_access_key,
    )
    store = fs.S3FileSystem(
        access_key=keys.access_key_id, secret_key=keys.secret_access_key, endpoint_override=seaweedfs.endpoint
    )
    files = {
        "a.csv": b'id,text\n1,"two\nlines"\n2,end',
        "b.csv.gz": gzip.compress(b"id\n" + b"7\n" * 50_000),
    }
    for name, content in files.items():
        with store.open_output_stream(f"{settings.landing_bucket}/audit/{name}", compression=None) as stream:
            stream.write(content)
    wanted = ["audit/a.csv", "audit/b.csv.gz", "audit/gone.csv"]
    assert landed_rows(settings, wanted) == {"audit/a.csv": 2, "audit/b.csv.gz": 50_000}

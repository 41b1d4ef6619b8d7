"""What the sources hold now: rows of a database, lines of landed files."""

import gzip
from collections.abc import Mapping, Sequence
from typing import Any

from include.audit.errors import StoreUnreadable
from include.settings import Settings

CHUNK_BYTES = 1 << 20


def database_rows(dsn: str, tables: Sequence[str]) -> dict[str, int]:
    """Rows of each table of a PostgreSQL database, all as of one instant.

    Raises:
        StoreUnreadable: The database or a table cannot be read.
    """
    import psycopg
    from psycopg import sql

    try:
        with psycopg.connect(dsn, connect_timeout=10) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            counted = {}
            for table in tables:
                query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("public", table))
                row = connection.execute(query).fetchone()
                counted[table] = int(row[0]) if row else 0
            return counted
    except psycopg.Error as error:
        raise StoreUnreadable(
            f"The source database cannot be read: {type(error).__name__}.",
            remedy="Start it with `headrace up`, check HEADRACE_RETAIL_DSN, or leave it out: --no-source.",
        ) from error


def landed_rows(settings: Settings, paths: Sequence[str]) -> dict[str, int]:
    """Rows of each CSV file of the landing bucket, by path; a file that was cleaned away is left out.

    Raises:
        StoreUnreadable: The bucket cannot be read.
    """
    from pyarrow import fs

    store = fs.S3FileSystem(
        access_key=settings.s3_access_key_id,
        secret_key=settings.s3_secret_access_key.get_secret_value(),
        endpoint_override=settings.s3_endpoint,
        region=settings.s3_region,
    )
    try:
        there = [
            path
            for path in paths
            if store.get_file_info(f"{settings.landing_bucket}/{path}").type == fs.FileType.File
        ]
        return {path: _csv_rows(store, f"{settings.landing_bucket}/{path}") for path in there}
    except OSError as error:
        raise StoreUnreadable(
            f"The landing bucket cannot be read: {type(error).__name__}.",
            remedy="Start it with `headrace up`, check HEADRACE_S3_*, or leave it out: --no-source.",
            bucket=settings.landing_bucket,
        ) from error


def origins_of(manifest: Mapping[str, Any]) -> dict[str, int]:
    """Rows that came from each file, as the manifest of a snapshot says."""
    rows: dict[str, int] = {}
    for part in manifest.get("parts", ()):
        if part.get("origin"):
            rows[part["origin"]] = rows.get(part["origin"], 0) + int(part["rows"])
    return rows


def _csv_rows(store: Any, path: str) -> int:
    """Records after the header; a line break within quotes is none of their ends."""
    import numpy as np

    records, quoted, pending = 0, False, False
    with store.open_input_stream(path, compression=None, buffer_size=CHUNK_BYTES) as raw:
        stream = gzip.GzipFile(fileobj=raw) if path.endswith(".gz") else raw
        while chunk := stream.read(CHUNK_BYTES):
            if not quoted and b'"' not in chunk:
                records += chunk.count(b"\n")
            else:
                characters = np.frombuffer(chunk, np.uint8)
                # Whether a character stands within quotes: an odd number of them came before it.
                within = np.logical_xor.accumulate(characters == ord('"')) ^ quoted
                records += int(np.count_nonzero((characters == ord("\n")) & ~within))
                quoted = bool(within[-1])
            pending = not chunk.endswith(b"\n")
    return max(records + pending - 1, 0)

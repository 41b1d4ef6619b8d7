"""Sample data for a new repository: a readme, a table of lakes, its source, and pictures.

All of it is made here: the lakes are invented by a fixed arithmetic, the pictures are drawn by it.
The paths and their number are those of lakeFS's own sample repository, which suites of others expect.
"""

import io
import secrets
import struct
import time
import zlib
from collections.abc import Iterator

from include.stack.lakefs.blockstore.store import full_uri
from include.stack.lakefs.model import Entry, NotFound, ProtectionRule, Repository
from include.stack.lakefs.service import Service

QUICKSTART = "quickstart"
IMAGES = 29
LAKES = 20_000
IMAGE_SIDE = 96

README = """# Welcome to the lake

This repository holds sample data: `lakes.parquet`, a table of {lakes} invented lakes, what it was
made from (`data/lakes.source.md`), and pictures.

Branch it, change it, look at the difference, merge it back:

    import lakefs
    main = lakefs.repository("{repository}").branch("main")
    with main.transact(commit_message="Remove the pictures") as tx:
        for picture in tx.objects(prefix="images/"):
            picture.delete()
"""

SOURCE = """# Source of lakes.parquet

Made by headrace when this repository was created. No lake in it exists: names, countries, depths
and areas follow from the row number alone, so that everyone has the same bytes.
"""


def seed_quickstart(service: Service) -> None:
    """Create the repository `quickstart` with sample data, unless it is there."""
    try:
        service.engine.get_repository(QUICKSTART)
    except NotFound:
        # A namespace of its own: an earlier data folder may have left objects in the blockstore.
        namespace = f"{service.options.default_namespace}/{QUICKSTART}-{secrets.token_hex(4)}"
        service.blockstore.claim_namespace(namespace)
        seed(service, service.engine.create_repository(QUICKSTART, namespace), service.gatekeeper.user)


def seed(service: Service, repository: Repository, committer: str) -> None:
    """Commit the sample data to the default branch, and protect it from commits like lakeFS does."""
    branch = repository.default_branch
    service.engine.stage_many(repository.id, branch, _upload(service, repository))
    service.engine.commit(repository.id, branch, "Add sample data", committer, {})
    service.engine.set_protection_rules(repository.id, [ProtectionRule(branch, ("commit",))])


def _upload(service: Service, repository: Repository) -> Iterator[Entry]:
    for path, data, content_type in sample_files(repository.id):
        address = service.addresses.new()
        writer = service.blockstore.writer(full_uri(repository.storage_namespace, address))
        writer.write(data)
        written = writer.finish()
        yield Entry(
            path=path,
            physical_address=address,
            checksum=written.checksum,
            size_bytes=written.size_bytes,
            mtime=int(time.time()),
            content_type=content_type,
        )


def sample_files(repository: str) -> Iterator[tuple[str, bytes, str]]:
    """Path, bytes and content type of each sample file."""
    yield "README.md", README.format(lakes=LAKES, repository=repository).encode(), "text/markdown"
    yield "data/lakes.source.md", SOURCE.encode(), "text/markdown"
    yield "lakes.parquet", lakes_table(), "application/vnd.apache.parquet"
    for number in range(IMAGES):
        yield f"images/lake-{number:02d}.png", lake_picture(number), "image/png"


def lakes_table() -> bytes:
    """A Parquet file of invented lakes, the same bytes every time; a little over half a MiB."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = range(LAKES)
    first = ["Aster", "Birch", "Cedar", "Dune", "Elder", "Fern", "Gale", "Heron", "Iris", "Juniper"]
    second = ["mere", "water", "tarn", "loch", "pool", "lagoon", "basin", "sound"]
    countries = ["Altmark", "Brenland", "Corvia", "Dalmere", "Estavia", "Falkmoor"]
    table = pa.table(
        {
            "lake_id": pa.array(rows, pa.int64()),
            "name": pa.array(
                [f"{first[_mix(r) % 10]}{second[_mix(r + 1) % 8]} {_mix(r + 2) % 9973}" for r in rows]
            ),
            "country": pa.array([countries[_mix(r + 3) % 6] for r in rows]),
            "depth_m": pa.array([_mix(r + 4) % 100_000 / 100 for r in rows], pa.float64()),
            "area_km2": pa.array([_mix(r + 5) % 10_000_000 / 1000 for r in rows], pa.float64()),
            "elevation_m": pa.array([_mix(r + 6) % 4000 for r in rows], pa.int32()),
            "digest": pa.array([f"{_mix(r + 7):08x}{_mix(r + 8):08x}" for r in rows]),
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="snappy", store_schema=False)
    return sink.getvalue()


def lake_picture(number: int) -> bytes:
    """A PNG: ripples around a point that depends on the number, with grain."""
    rows = bytearray()
    for y in range(IMAGE_SIDE):
        rows.append(0)
        for x in range(IMAGE_SIDE):
            distance = (x - number * 3) ** 2 + (y - 48) ** 2
            grain = _mix(number << 16 | y << 8 | x)
            rows += bytes((grain % 64, (distance // 16 + grain % 32) % 256, 128 + (distance // 64) % 128))
    header = struct.pack(">IIBBBBB", IMAGE_SIDE, IMAGE_SIDE, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(kind, data)
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(rows), 6)), (b"IEND", b""))
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def _mix(value: int) -> int:
    """32 bits that look random and follow from the value (Knuth's multiplicative hash, folded)."""
    mixed = (value * 2654435761 + 0x9E3779B9) & 0xFFFFFFFF
    mixed ^= mixed >> 15
    mixed = (mixed * 2246822519) & 0xFFFFFFFF
    return mixed ^ (mixed >> 13)

"""Drop planes, airports and airlines into the landing bucket, each in its keeper's format."""

import gzip
import io
import json

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from include.demo import landing, nycflights
from include.settings import Settings

FOLDER = "flights"
_WHOLE = {"year": pa.int16(), "engines": pa.int16(), "seats": pa.int16(), "speed": pa.int16()}


def files() -> dict[str, bytes]:
    """Name and content of each file; the same each time."""
    planes = nycflights.read("planes")
    for name, kind in _WHOLE.items():
        place = planes.column_names.index(name)
        planes = planes.set_column(place, name, pc.cast(planes.column(name), kind))
    lines = [json.dumps(row) for row in nycflights.read("airports").to_pylist()]
    return {
        "planes.csv.gz": gzip.compress(_csv(planes), mtime=0),
        "airports.jsonl": "".join(f"{line}\n" for line in lines).encode(),
        "airlines.csv": _csv(nycflights.read("airlines")),
    }


def drop(settings: Settings) -> tuple[str, ...]:
    """Put the files into the landing bucket, each whole or not at all; their paths within it."""
    filesystem = landing.filesystem(settings)
    filesystem.create_dir(settings.landing_bucket)
    for name, content in files().items():
        path = f"{settings.landing_bucket}/{FOLDER}/{name}"
        # Arrow would compress a name that ends in .gz once more.
        with filesystem.open_output_stream(path, compression=None) as stream:
            stream.write(content)
    return tuple(f"{FOLDER}/{name}" for name in files())


def _csv(table: pa.Table) -> bytes:
    text = io.BytesIO()
    pa_csv.write_csv(table, text, pa_csv.WriteOptions(quoting_style="needed"))
    return text.getvalue()

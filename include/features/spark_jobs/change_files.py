"""The files of a change log: what each holds, told by its footer alone."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.features.errors import StagingError
from include.features.spark_jobs.shapes import Shape, ShapeColumn

if TYPE_CHECKING:
    import pyarrow as pa

# Of the one schema of a change: docs/adr/0010-one-schema-of-a-change.md.
SHAPE_KEY = b"headrace:shape"
_NEEDED = ("operation", "commit_lsn", "sequence", "committed_at", "row", "unchanged", "special")


@dataclass(frozen=True)
class ChangeFile:
    """One file of a change log; files in order of their first changes are the log in its order.

    Args:
        name: Lake path.
        content: Hash of its bytes; a file that was brought again under another name has the same.
        first, last: Lowest and highest commit position in it.
        shape: The columns of its rows.
    """

    name: str
    content: str
    first: int
    last: int
    shape: Shape

    def document(self) -> dict[str, Any]:
        """Its fields, without the shape."""
        return {"name": self.name, "content": self.content, "first": self.first, "last": self.last}


def read_change_file(path: Path, name: str, content: str) -> ChangeFile | None:
    """What a file holds; None for one without rows.

    Args:
        path: The local file.
        name: Its lake path.
        content: Hash of its bytes.

    Raises:
        StagingError: It is no file of changes.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        absent = [field for field in _NEEDED if field not in schema.names]
        if absent:
            raise StagingError(
                f"{name} has no column {', '.join(absent)}.",
                remedy="Accepted: files of changes, as capture writes them (ADR 0010).",
            )
        if not file.metadata.num_rows:
            return None
        positions = file.read(["commit_lsn"]).column("commit_lsn").combine_chunks().to_numpy()
    return ChangeFile(name, content, int(positions.min()), int(positions.max()), shape_in(schema))


def shape_in(schema: "pa.Schema") -> Shape:
    """The shape of the rows in a file.

    What the source said of it where the file tells; else what its Arrow types show.
    """
    row = schema.field("row").type
    old = {field.name for field in schema.field("old").type} if "old" in schema.names else set()
    told = json.loads((schema.metadata or {}).get(SHAPE_KEY, b"{}"))
    source = {one["name"]: f"{one['type']}({one['modifier']})" for one in told.get("columns", ())}
    columns = tuple(
        ShapeColumn(field.name, f"{source.get(field.name, '')} {field.type}".strip(), field.name in old)
        for field in row
    )
    return Shape(int(told.get("relation_id", 0)), columns)


def shapes_document(shapes: list[Shape]) -> list[dict[str, Any]]:
    """Shapes as they are written down."""
    return [asdict(shape) for shape in shapes]

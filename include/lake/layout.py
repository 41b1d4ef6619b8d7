"""How lake paths are laid out: which folder is a table, and where a source keeps its watermark."""

TABLE_DEPTHS = {
    "raw": 3,  # raw/<source>/<table>/
    "staged": 3,
    "quarantine": 3,
    "training_sets": 3,  # training_sets/<product>/<id>/
    "features": 2,  # features/<table>/
    "predictions": 2,
    "monitoring": 2,
}
DATA_SUFFIX = ".parquet"
WATERMARK_FILE = "_watermark.json"


def table_of(path: str) -> str | None:
    """The table that a data file belongs to; None for a file that is no table's data."""
    folder, _, name = path.rpartition("/")
    if not folder or not name.endswith(DATA_SUFFIX):
        return None
    parts = folder.split("/")
    depth = TABLE_DEPTHS.get(parts[0], len(parts))
    return "/".join(parts[:depth]) if len(parts) >= depth else None


def watermark_path(source: str) -> str:
    """Where the watermark of a source lies."""
    return f"raw/{source}/{WATERMARK_FILE}"


def watermark_source(path: str) -> str | None:
    """The source whose watermark a path is; None for any other path."""
    parts = path.split("/")
    return parts[1] if len(parts) == 3 and path == watermark_path(parts[1]) else None

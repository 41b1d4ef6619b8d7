"""How lake paths are laid out: which folder is a table, and where a source keeps its watermarks."""

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
LOG_WATERMARK_FILE = "_watermark_log.json"


def table_of(path: str) -> str | None:
    """The table that a data file belongs to; None for a file that is no table's data."""
    folder, _, name = path.rpartition("/")
    if not folder or not name.endswith(DATA_SUFFIX):
        return None
    parts = folder.split("/")
    depth = TABLE_DEPTHS.get(parts[0], len(parts))
    return "/".join(parts[:depth]) if len(parts) >= depth else None


def watermark_path(source: str) -> str:
    """Where the positions lie of a source's tables that are read by themselves."""
    return f"raw/{source}/{WATERMARK_FILE}"


def log_watermark_path(source: str) -> str:
    """Where the position lies of the log that a source's changes are read from."""
    return f"raw/{source}/{LOG_WATERMARK_FILE}"


def watermark_source(path: str) -> str | None:
    """The source whose watermark a path is, of tables or of a log; None for any other path."""
    parts = path.split("/")
    if len(parts) != 3 or path not in {watermark_path(parts[1]), log_watermark_path(parts[1])}:
        return None
    return parts[1]

"""I1 and I2: what arrived is there, once; rows in are rows published and rows put apart."""
# ruff: noqa: S608  # names and paths are quoted

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from include.audit.result import Checked, Violation
from include.audit.tables import Table, columns, quoted

if TYPE_CHECKING:
    import duckdb

Document = Mapping[str, Any]

# The auditor's own list: what the departments say is unique, not what the pipeline declares.
RAW_KEYS: Mapping[str, tuple[str, ...]] = {
    "raw/retail/transactions": ("basket_id", "product_id"),
    "raw/retail/products": ("product_id",),
    "raw/retail/coupons": ("coupon_line_id",),
    "raw/retail/campaigns": ("campaign_id", "household_id"),
    "raw/retail/demographics": ("household_id",),
    "raw/retail/campaign_descriptions": ("campaign_id",),
    "raw/retail/coupon_redemptions": ("household_id", "coupon_upc", "campaign_id", "redemption_date"),
    "raw/retail/promotions": ("product_id", "store_id", "week", "display_location", "mailer_location"),
}
# Of a table of all versions of rows: a commit leaves one of each.
HISTORY = "__history"
EVENT, CREATED = "event_timestamp", "created_timestamp"
BESIDE_THE_KEY = {"score", "model_digest", "feature_commit"}


def check_source_rows(
    source: Mapping[str, int], lake: Mapping[str, int], quarantined: Mapping[str, int]
) -> Checked:
    """I1: each table holds as many rows as its source gave, less those that were put apart.

    Args:
        source: Rows at the source, by table.
        lake: Rows published, by table.
        quarantined: Rows put apart, by table.
    """
    violations = [
        Violation(table, f"source has {rows:,} rows, the lake {held:,} (and {apart:,} in quarantine)")
        for table, rows in sorted(source.items())
        if (held := lake.get(table, 0)) + (apart := quarantined.get(table, 0)) != rows
    ]
    return Checked("tables and files against their source", len(source), tuple(violations))


def check_parts(table: Table, rows: Mapping[str, int], manifest: Document) -> Checked:
    """I1: a snapshot is the files that its manifest names, by their bytes, with the rows that it names.

    Args:
        table: The files that are there.
        rows: Rows of each, by its name.
        manifest: What the ingestion said that it wrote.
    """
    named = {part["name"]: part for part in manifest.get("parts", ())}
    violations = []
    for name in sorted({*named, *rows}):
        where = f"{table.path}/{name}"
        if name not in rows:
            violations.append(Violation(where, "is named by the manifest, but not there"))
        elif name not in named:
            violations.append(Violation(where, "is there, but not named by the manifest"))
        elif rows[name] != named[name]["rows"]:
            violations.append(Violation(where, f"holds {rows[name]:,} rows, not {named[name]['rows']:,}"))
        elif table.sha256[name] != named[name]["sha256"]:
            violations.append(Violation(where, "holds other bytes than were landed"))
    return Checked("landed files", len(named), tuple(violations))


def part_rows(table: Table) -> dict[str, int]:
    """Rows of each file of a table, by its name in the lake."""
    import pyarrow.parquet as pq

    here = sorted(table.folder.glob("*.parquet"))
    names = [file.rsplit("/", 1)[-1] for file in table.files]
    return {name: pq.read_metadata(path).num_rows for name, path in zip(names, here, strict=True)}


def key_of(path: str, found: Sequence[str], document: Document | None) -> tuple[str, ...] | None:
    """Columns that no two rows of a table may share; None where nobody said.

    Args:
        path: The table's folder.
        found: Its columns.
        document: What lies beside the rows and names their entity, if anything does.
    """
    if path in RAW_KEYS:
        return RAW_KEYS[path]
    if path.startswith("staged/"):
        table = path.removeprefix("staged/").removesuffix(HISTORY)
        own = RAW_KEYS.get(f"raw/{table}")
        return (*own, "_from_lsn") if own and path.endswith(HISTORY) else own
    if path.startswith("predictions/"):
        return tuple(name for name in found if name not in BESIDE_THE_KEY)
    if document is None or not document.get("entity"):
        return None
    entity = tuple(document["entity"])
    created = (CREATED,) if path.startswith("features/") and CREATED in found else ()
    return (*entity, EVENT, *created)


def check_unique(
    connection: "duckdb.DuckDBPyConnection", table: Table, document: Document | None
) -> Checked | None:
    """I2: no two rows share a key; None where no key is known."""
    found = columns(connection, table)
    key = key_of(table.path, found, document)
    if key is None:
        return None
    missing = [name for name in key if name not in found]
    if missing:
        return Checked("tables", 1, (Violation(table.path, f"lacks its key {', '.join(missing)}"),))
    names = ", ".join(quoted(name) for name in key)
    # As many hashes as rows, and no two rows can be alike: half the work of grouping the rows themselves.
    ((rows, hashes),) = connection.execute(
        f"SELECT count(*), count(DISTINCT hash({names})) FROM {table.relation}"
    ).fetchall()
    if rows == hashes:
        return Checked("tables", 1)
    twice = connection.execute(
        f"SELECT {names}, count(*) FROM {table.relation} GROUP BY {names} HAVING count(*) > 1 LIMIT 1"
    ).fetchall()
    if not twice:
        return Checked("tables", 1)
    shown = ", ".join(f"{name}={value}" for name, value in zip(key, twice[0], strict=False))
    return Checked("tables", 1, (Violation(f"{table.path}?{shown}", f"is there {twice[0][-1]} times"),))

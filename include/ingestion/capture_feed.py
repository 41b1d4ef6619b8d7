"""Which feed a source's capture reads, and how far the lake has it."""

from include.ingestion.connectors.postgres_publication import Relation
from include.ingestion.connectors.postgres_slot import Feed
from include.ingestion.pgoutput import CdcError, LogPosition
from include.lake import Lake, read_watermark
from include.settings import Settings
from include.spec.capture import Capture
from include.spec.reads import DatabaseTable
from include.spec.refs import CommitRef
from include.spec.source import Source, Table


def capture_of(source: Source) -> Capture:
    """The source's capture.

    Raises:
        CdcError: It declares none.
    """
    if source.capture is None:
        raise CdcError(
            f"Source {source.name!r} declares no capture.",
            remedy="Give it capture=Capture(...) in include/sources/.",
            source=source.name,
        )
    return source.capture


def feed_of(settings: Settings, source: Source) -> Feed:
    """What is read: the publication of a source, through its slot.

    Raises:
        CdcError: The source declares no capture, or the settings have no connection string for it.
    """
    declared = capture_of(source)
    dsn: str = getattr(settings, declared.dsn).get_secret_value()
    if not dsn:
        raise CdcError(
            f"Source {source.name!r} has no database to capture from: its connection string is empty.",
            remedy=f"Set HEADRACE_{declared.dsn.upper()}, or start the stack (`headrace up`).",
            source=source.name,
        )
    return Feed(dsn, declared.dsn.removesuffix("_dsn"), declared.publication, declared.slot)


def captured_tables(source: Source) -> dict[Relation, Table]:
    """The declared tables that are captured, by schema and name in the database."""
    found = {}
    for name in capture_of(source).tables:
        table = source.table(name)
        assert isinstance(table.read, DatabaseTable), name
        found[(table.read.schema_name, table.read.relation or table.name)] = table
    return found


def held_position(lake: Lake, source: Source, at: CommitRef) -> LogPosition | None:
    """How far a commit of the lake has the log of a source; None before its first capture."""
    watermark = read_watermark(lake, at, source.name)
    for position in watermark.positions if watermark else ():
        if position.kind == "lsn":
            return LogPosition.of(position)
    return None


def lake_name(lake: Lake) -> str:
    """Which lake this is, so that no two of one name are taken for each other."""
    found = lake.call(lambda: lake.api.repositories_api.get_repository(lake.repository))
    return f"{found.id} at {found.storage_namespace} since {found.creation_date}"

"""PostgreSQL's logical replication protocol (pgoutput), decoded many messages at a time into Arrow.

`Decoder` takes binary messages and gives `ChangeBatch`es, one Arrow schema whatever brought the change
(docs/adr/0010-one-schema-of-a-change.md). It does no I/O: `include.ingestion.connectors.postgres_cdc` reads.

Source: PostgreSQL 18 documentation, 54.9 "Logical Replication Message Formats".
"""

from include.ingestion.pgoutput.changes import ChangeBatch, SchemaChange, change_schema
from include.ingestion.pgoutput.decoder import Decoded, Decoder
from include.ingestion.pgoutput.errors import CdcError, ProtocolError, UnreadableValue, UnsupportedType
from include.ingestion.pgoutput.lsn import LogPosition, lsn_text, parse_lsn
from include.ingestion.pgoutput.messages import LogicalMessage
from include.ingestion.pgoutput.shape import Identity, ShapeColumn, TableShape
from include.ingestion.pgoutput.types import PgType

__all__ = [
    "CdcError",
    "ChangeBatch",
    "Decoded",
    "Decoder",
    "Identity",
    "LogPosition",
    "LogicalMessage",
    "PgType",
    "ProtocolError",
    "SchemaChange",
    "ShapeColumn",
    "TableShape",
    "UnreadableValue",
    "UnsupportedType",
    "change_schema",
    "lsn_text",
    "parse_lsn",
]

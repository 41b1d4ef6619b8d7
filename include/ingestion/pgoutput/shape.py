"""The shape of a table as the stream announces it: names, types, identity."""

from dataclasses import dataclass
from typing import Literal

Identity = Literal["default", "nothing", "full", "index"]


@dataclass(frozen=True)
class ShapeColumn:
    """One column of a published table.

    Args:
        name: Its name.
        type: PostgreSQL's name of its type, with the schema unless that is `pg_catalog`.
        type_oid: Its number in the catalogue; a type that is dropped and made again gets another.
        modifier: The type's modifier (length, precision and scale), -1 for none.
        identity: Whether it is part of the replica identity, which names the old row.
    """

    name: str
    type: str
    type_oid: int
    modifier: int
    identity: bool

    @property
    def contract(self) -> tuple[str, str, int, bool]:
        """What readers of the column depend on."""
        return (self.name, self.type, self.modifier, self.identity)


@dataclass(frozen=True)
class TableShape:
    """A published table as of one point of the stream.

    Args:
        relation_id: Its number in the catalogue; a table that is dropped and made again gets another.
        schema_name: Its schema.
        table: Its name.
        identity: Its replica identity: what the source tells of the old row of an update or delete.
        columns: In order.
    """

    relation_id: int
    schema_name: str
    table: str
    identity: Identity
    columns: tuple[ShapeColumn, ...]

    @property
    def name(self) -> str:
        """Schema and table, for people."""
        return f"{self.schema_name}.{self.table}"

    def column(self, name: str) -> ShapeColumn:
        """The column of that name.

        Raises:
            KeyError: There is none.
        """
        return {column.name: column for column in self.columns}[name]

    def same_as(self, other: "TableShape") -> bool:
        """Whether changes of both have one Arrow schema and one meaning."""
        return self._contract == other._contract

    @property
    def _contract(self) -> tuple[object, ...]:
        columns = tuple(column.contract for column in self.columns)
        return (self.relation_id, self.schema_name, self.table, self.identity, columns)

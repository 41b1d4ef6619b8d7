"""How the changes of a source's database are captured: what is published, and what a changed shape does."""

from typing import Literal

from pydantic import Field, model_validator

from include.spec.declaration import Declaration, Name

OnSchemaChange = Literal["evolve", "quarantine", "stop"]

MIB = 2**20


class Capture(Declaration):
    """Tables of a PostgreSQL database whose every change is brought to the lake, in order, once.

    A table that changes its shape in the source and still fits its declaration goes on under every policy.
    Where it does not fit: `evolve` lets pass what readers of the declared columns survive (a column added, a
    nullable one dropped, a type widened) and stops at all else; `quarantine` puts the changes of that table
    aside, in order, until its declaration fits; `stop` stops at the first of them.

    Rows that fit are held to their table's rules, but for `References`, and `on_violation` says what becomes
    of a change that breaks one.

    Args:
        dsn: Name of the field of `include.settings.Settings` that holds the connection string; its role must
            own the tables and be allowed to replicate.
        tables: Names of declared tables, each read from a table of a database.
        publication: Name of the publication; made, and made again, by the first capture.
        slot: Name of the replication slot; one lake's own.
        on_schema_change: What happens to changes of a table that does not fit its declaration.
        publish_every_s: In continuous mode the longest time that a change waits for others.
        alert_retained_bytes: An alert is raised where the database keeps more of its log than this for us.
        schedule: When changes are fetched (cron), `@continuous` to follow them, None for on demand only.
    """

    dsn: Name
    tables: tuple[Name, ...] = Field(min_length=1)
    publication: Name
    slot: Name
    on_schema_change: OnSchemaChange = "stop"
    publish_every_s: float = Field(default=2.0, gt=0)
    alert_retained_bytes: int = Field(default=1024 * MIB, gt=0)
    schedule: str | None = None

    @model_validator(mode="after")
    def _distinct(self) -> "Capture":
        twice = sorted({name for name in self.tables if self.tables.count(name) > 1})
        if twice:
            raise ValueError(f"tables captured twice: {', '.join(twice)}")
        return self

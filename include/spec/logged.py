"""What became of captured changes, as references and the metadata of commits tell it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Logged:
    """What became of the changes of one table in one commit: `rows_in` is published and put apart.

    Args:
        table: Lake path of its change log.
        rows_in: Changes that were read.
        rows: Changes that were published; those that came out of quarantine count, too.
        quarantined: Changes that were put apart, less those that came out of quarantine.
        first: Whether the log begins with them.
    """

    table: str
    rows_in: int
    rows: int
    quarantined: int
    first: bool = False

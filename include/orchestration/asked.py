"""What the form of a batch ingestion lets a person ask for: everything again, or a range of it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import Param

from include.spec.source import Source

if TYPE_CHECKING:
    from include.ingestion.spans import Asked

EVERYTHING, SINCE, UNTIL = "full_refresh", "backfill_since", "backfill_until"


def asked_params(source: Source) -> dict[str, Param]:
    """The parameters for a source's form; none where no table is read by a cursor."""
    if all(table.read.incremental is None for table in source.tables):
        return {}
    bound = ["null", "string"]
    about = "Read this range of the cursor anew, in place of what the lake has of it: "
    return {
        EVERYTHING: Param(
            False, type="boolean", title="Full refresh", description="Read all rows, not only new ones"
        ),
        SINCE: Param(None, title="Backfill from", description=f"{about}its begin", type=bound),
        UNTIL: Param(None, title="Backfill until", description=f"{about}its end (exclusive)", type=bound),
    }


def asked(params: Mapping[str, Any] | None) -> "Asked":
    """What the form asks for; by default what is new."""
    from include.ingestion.spans import Asked

    given = params or {}
    return Asked(bool(given.get(EVERYTHING)), given.get(SINCE) or "", given.get(UNTIL) or "")

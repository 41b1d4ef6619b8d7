"""Which moment a run is as of: what was not known then does not exist for it.

In order: the form's `as_of`; the end of the interval of a backfilled run; the `as_of` that the run which
triggered this one was as of; and else the newest moment that the data tell of. Never later than that.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Param, get_current_context

from include.spec import refs
from include.spec.errors import HeadraceError

AS_OF = refs.AS_OF
AS_OF_PARAM = Param(
    None,
    type=["null", "string"],
    format="date-time",
    title="As of",
    description="Use only what was known at this moment; empty for the newest that the data tell of.",
)


def moment_of_run(newest: datetime) -> datetime:
    """The moment of the task's run, UTC without a zone.

    Args:
        newest: The newest moment that the data tell of.

    Raises:
        HeadraceError: The form's `as_of` is no moment.
    """
    asked = asked_moment(get_current_context())
    return newest if asked is None else min(asked, newest)


def asked_moment(context: Mapping[str, Any]) -> datetime | None:
    """What the form, the backfill or the triggering run asks for; None where none does."""
    given = (context.get("params") or {}).get(AS_OF)
    if given:
        return parse_moment(str(given))
    run = context["dag_run"]
    # Compared, not printed: of Airflow's two enums of run types only the scheduler's prints as its value.
    if run.run_type == "backfill" and context.get("data_interval_end") is not None:
        return _naive(context["data_interval_end"])
    passed_on = [
        event.extra[AS_OF]
        for events in (context.get("triggering_asset_events") or {}).values()
        for event in events
        if event.extra and event.extra.get(AS_OF)
    ]
    return max(map(parse_moment, passed_on), default=None)


def parse_moment(text: str) -> datetime:
    """A moment in ISO 8601, UTC where it has no zone.

    Raises:
        HeadraceError: It is none.
    """
    try:
        return _naive(datetime.fromisoformat(text))
    except ValueError as error:
        raise HeadraceError(
            f"as_of: {text!r} is no moment.", remedy="Accepted: ISO 8601, such as 2017-11-01T00:00:00."
        ) from error


def pass_on(asset: Any, moment: datetime | None) -> None:
    """Let the runs that this asset's event triggers be as of the same moment."""
    if moment is not None:
        get_current_context()["outlet_events"][asset].extra[AS_OF] = moment.isoformat()


def _naive(moment: datetime) -> datetime:
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)

"""What `headrace quarantine` does with captured changes, which are held one by one."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from include.spec.errors import HeadraceError

if TYPE_CHECKING:
    from include.ingestion.batch import Desk
    from include.ingestion.release import Choice
    from include.lake import Lake
    from include.settings import Settings
    from include.spec.logged import Logged
    from include.spec.refs import DraftRef
    from include.spec.source import Source, Table
    from include.spec.verdict import Verdict


def held_of(lake: "Lake", source: "Source", table: "Table") -> list[dict[str, Any]]:
    """The changes of a table that main holds apart, in the order of the log."""
    from include.ingestion.held_changes import changes_held

    captured = source.capture is not None and table.name in source.capture.tables
    return changes_held(lake, lake.head(), source, table) if captured else []


def line_of(change: dict[str, Any]) -> str:
    """A held change for people."""
    number, place = change["sequence"], "as it began"
    # Rows that were read as the capture began are of no transaction.
    if number is not None:
        place = f"change {number:,} of transaction {change['transaction_id']}"
    where = f"the log at {change['origin']}, {place}"
    return f"{change['id']}  {where}: {change['operation']}, {change['reason']}\n    {change['row']}"


def release_held(
    lake: "Lake", settings: "Settings", source: "Source", table: "Table", choice: "Choice"
) -> str:
    """Publish chosen changes; what was done, for people."""
    from include.ingestion.held_changes import release_changes

    return _publish(
        lake, settings, source, table, "release", choice, lambda desk: release_changes(desk, table, choice)
    )


def replay_held(
    lake: "Lake", settings: "Settings", source: "Source", table: "Table", choice: "Choice"
) -> str:
    """Publish the changes that keep the rules as they are declared now; what was done, for people."""
    from include.ingestion.held_changes import replay_changes

    return _publish(lake, settings, source, table, "replay", choice, lambda desk: replay_changes(desk, table))


def uncorrectable(table: "Table", change: str) -> HeadraceError:
    """The error for a correction of a captured change."""
    return HeadraceError(
        f"{change} is a change that was captured of {table.name}: the log has what the source did, and other "
        "values would be nobody's.",
        remedy="Correct the row in the source: the change that this makes is captured, and the row is right "
        "from then on. Or release the change as it is.",
        table=table.name,
        row=change,
    )


def _publish(
    lake: "Lake",
    settings: "Settings",
    source: "Source",
    table: "Table",
    action: str,
    choice: "Choice",
    step: "Callable[[Desk], Logged]",
) -> str:
    """Write, judge and merge, once, in one commit."""
    from include.cli.decided import publish_once
    from include.ingestion.batch import Desk
    from include.ingestion.quarantine import balance_metadata
    from include.validation.changes import judge_changes

    told = {"source": source.name, "who": choice.who, "why": choice.why}
    moved: list[Logged] = []

    def write(draft: "DraftRef") -> None:
        moved[:] = [step(Desk(lake, settings, draft, source))]
        told.update(balance_metadata(moved))

    def audit(draft: "DraftRef") -> "Verdict":
        # Captures keep their evidence in the same place: two of one source would be in each other's way.
        return judge_changes(lake, settings, draft, source.name, evidence=False)

    asked = [table.contract_hash, *choice.ids, choice.rule, choice.who, choice.why]
    named = action, "changes", source.name, table.name
    message = f"{action.capitalize()} held changes of {source.name}.{table.name}"
    what = publish_once(lake, named, asked, message, told, write, audit)
    left = len(held_of(lake, source, table))
    return f"{what}; {left:,} changes of {table.name} are held."

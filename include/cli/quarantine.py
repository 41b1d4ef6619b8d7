"""`headrace quarantine ...`: rows and changes that broke their contract, and how they come back."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table as Grid

from include.settings import settings
from include.spec.errors import HeadraceError

if TYPE_CHECKING:
    from include.ingestion.batch import Desk
    from include.ingestion.release import Choice
    from include.lake import Lake
    from include.spec.refs import Landed
    from include.spec.source import Source, Table

app = typer.Typer(
    name="quarantine",
    help="Rows and changes that broke their contract: list, show, release, replay.",
    no_args_is_help=True,
)
out = Console()

SHOWN_ROWS = 20

SourceName = Annotated[str, typer.Argument(help="A source, such as retail.")]
TableName = Annotated[str, typer.Argument(help="One of its tables.")]
Who = Annotated[str, typer.Option("--who", help="Whose decision it is: an address.")]
Why = Annotated[str, typer.Option("--why", help="The reason, for whoever asks later.")]
Ids = Annotated[list[str] | None, typer.Option("--row", help="Id of a row; give it again for more.")]
Broken = Annotated[str, typer.Option("--rule", help="Only rows that break this rule.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON Lines instead of a table.")]


class CorrectionsError(HeadraceError):
    """The file of corrections is not as it must be; nothing was changed."""


@app.command("list")
def list_(
    source: Annotated[str, typer.Argument(help="Only this source.")] = "", as_json: Json = False
) -> None:
    """How many rows, and captured changes, of which table are in quarantine on main, by what they break."""
    from include.cli.held_changes import held_of
    from include.lake import Lake
    from include.sources import SOURCES

    lake = Lake.connect(settings())
    found: list[dict[str, Any]] = []
    for declared in SOURCES:
        if source in ("", declared.name):
            for table in declared.tables:
                apart = {"rows": _rows(lake, declared, table), "changes": held_of(lake, declared, table)}
                found += [
                    {"source": declared.name, "table": table.name, "of": of, "rule": rule, "rows": rows}
                    for of, ones in apart.items()
                    for rule, rows in Counter(one["rule"] for one in ones).most_common()
                ]
    if as_json:
        _print_lines(found)
    elif found:
        _print_grid(found, ("source", "table", "of", "rule", "rows"))
    else:
        out.print("Nothing is in quarantine.")


@app.command()
def show(
    source: SourceName,
    table: TableName,
    rule: Broken = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many rows.")] = SHOWN_ROWS,
    corrections: Annotated[
        bool, typer.Option("--corrections", help="Print all as a file for `replay`, to be edited.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Rows and changes in quarantine: what each breaks, where it came from, and the row itself."""
    from include.cli.held_changes import held_of, line_of
    from include.ingestion.release import Choice
    from include.lake import Lake

    declared, of = _declared(source, table)
    lake, wanted = Lake.connect(settings()), Choice("", "", (), rule)
    chosen = [row for row in _rows(lake, declared, of) if wanted.holds(row)]
    if corrections:
        _print_lines([{"id": row["id"], **json.loads(row["row"])} for row in chosen])
        return
    changes = [change for change in held_of(lake, declared, of) if wanted.holds(change)]
    if as_json:
        _print_lines([*chosen, *changes][:limit])
        return
    said = [
        f"{row['id']}  {row['origin']}, row {row['row_number']:,}: {row['reason']}\n    {row['row']}"
        for row in chosen
    ]
    said += [line_of(change) for change in changes]
    for one in said[:limit]:
        out.print(one, markup=False, highlight=False, soft_wrap=True)
    out.print(f"{min(limit, len(said)):,} of {len(said):,} rows.", highlight=False)


@app.command()
def release(
    source: SourceName,
    table: TableName,
    who: Who,
    why: Why,
    row: Ids = None,
    rule: Broken = "",
) -> None:
    """Publish rows, or captured changes, as they are: somebody accepts them, and that is recorded."""
    from include.cli.held_changes import held_of, release_held
    from include.ingestion.release import Choice
    from include.ingestion.release import release as take
    from include.lake import Lake

    if not row and not rule:
        raise typer.BadParameter("say which rows: --row or --rule")
    declared, of = _declared(source, table)
    choice, lake = Choice(who, why, tuple(row or ()), rule), Lake.connect(settings())
    changes = {change["id"] for change in held_of(lake, declared, of) if choice.holds(change)}
    if changes:
        mine = Choice(who, why, tuple(sorted(changes)), rule)
        out.print(release_held(lake, settings(), declared, of, mine), highlight=False, soft_wrap=True)
        rest = [one for one in choice.ids if one not in changes]
        if not rest and (row or not any(choice.holds(one) for one in _rows(lake, declared, of))):
            return
        choice = Choice(who, why, tuple(rest), rule)
    _publish("release", declared, of, choice, lambda desk, chosen: take(desk, of, chosen))


@app.command()
def replay(
    source: SourceName,
    table: TableName,
    corrections: Annotated[
        Path | None,
        typer.Option("--corrections", help="JSON Lines: an object with `id` and the right values on each."),
    ] = None,
    who: Who = "",
    why: Why = "",
) -> None:
    """Put rows, and captured changes, through the contract again: as it is now, or rows with other values."""
    from include.cli.held_changes import held_of, replay_held, uncorrectable
    from include.ingestion import release as outward
    from include.lake import Lake

    declared, of = _declared(source, table)
    lake = Lake.connect(settings())
    changes = held_of(lake, declared, of)
    if corrections is None:
        choice = outward.Choice(who, why)
        if changes:
            said = replay_held(lake, settings(), declared, of, choice)
            out.print(said, highlight=False, soft_wrap=True)
            if not outward.has_snapshot(lake, lake.head(), declared, of):
                return
        _publish("replay", declared, of, choice, lambda desk, _chosen: outward.replay(desk, of))
        return
    if not who or not why:
        raise typer.BadParameter("corrections need --who and --why")
    right = _read_corrections(corrections)
    if captured := [change["id"] for change in changes if change["id"] in right]:
        raise uncorrectable(of, captured[0])
    choice = outward.Choice(who, why, tuple(right))

    def correct(desk: "Desk", chosen: "Choice") -> "Landed":
        return outward.correct(desk, of, {number: right[number] for number in chosen.ids}, chosen)

    digest = hashlib.sha256(corrections.read_bytes()).hexdigest()
    _publish("correct", declared, of, choice, correct, content=digest)


def _publish(
    action: str,
    source: "Source",
    table: "Table",
    choice: "Choice",
    step: Callable[["Desk", "Choice"], "Landed"],
    *,
    content: str = "",
) -> None:
    """Write, judge and merge, once: a run that died goes on, and one that is done finds nothing to do."""
    from include.cli.decided import publish_once
    from include.ingestion.batch import Desk
    from include.ingestion.quarantine import balance_metadata
    from include.ingestion.snapshot import FOLDER
    from include.lake import Lake
    from include.spec.refs import DraftRef
    from include.spec.verdict import Verdict
    from include.validation.draft import EVIDENCE, judge_draft

    lake, told = Lake.connect(settings()), {"source": source.name, "who": choice.who, "why": choice.why}
    chosen = choice
    if action != "replay":
        chosen = _still_there(lake, source, table, choice)
        if not chosen.ids:
            out.print("These rows have left quarantine already: nothing to do.")
            return
    # All tables of the source, since suites look at how they fit together.
    prefixes = [source.prefix(one.name) for one in source.tables]
    landed: list[Landed] = []

    def write(draft: DraftRef) -> None:
        landed[:] = [step(Desk(lake, settings(), draft, source), chosen)]
        told.update(balance_metadata(landed))

    def audit(draft: DraftRef) -> Verdict:
        # Without a change the draft must stay equal to main, or there would be a commit about nothing.
        evidence = f"raw/{source.name}/{EVIDENCE}" if landed[0].changed else None
        return judge_draft(
            lake,
            settings(),
            draft,
            {prefix: f"{prefix}/{FOLDER}" for prefix in prefixes},
            evidence_prefix=evidence,
        )

    asked = [table.contract_hash, *chosen.ids, choice.who, choice.why, content]
    named = action, source.name, table.name
    message = f"{action.capitalize()} rows of {source.name}.{table.name}"
    what = publish_once(lake, named, asked, message, told, write, audit)
    left = len(_rows(lake, source, table))
    out.print(f"{what}; {left:,} rows of {table.name} are in quarantine.", highlight=False, soft_wrap=True)


def _still_there(lake: "Lake", source: "Source", table: "Table", choice: "Choice") -> "Choice":
    """The choice as the rows that it means; those that were decided about already are left out.

    Raises:
        ReleaseError: A row was never there.
    """
    from dataclasses import replace

    from include.ingestion.quarantine import read_decisions
    from include.ingestion.release import ReleaseError

    here = {row["id"] for row in _rows(lake, source, table) if choice.holds(row)}
    decided = read_decisions(lake, lake.head(), source.name, table.name)
    unknown = sorted(set(choice.ids) - here - set(decided))
    if unknown or not (here or choice.ids):
        raise ReleaseError(
            f"The quarantine of {table.name} holds no {f'row {unknown[0]}' if unknown else 'such rows'}.",
            remedy=f"`headrace quarantine show {source.name} {table.name}` lists what it holds.",
            table=table.name,
        )
    return replace(choice, ids=tuple(sorted(here)))


def _rows(lake: "Lake", source: "Source", table: "Table") -> list[dict[str, Any]]:
    from include.ingestion.release import rows_apart

    return rows_apart(lake, lake.head(), source, table)


def _declared(source: str, table: str) -> "tuple[Source, Table]":
    from include.sources import SOURCES

    found = {declared.name: declared for declared in SOURCES}
    if source not in found:
        raise HeadraceError(f"There is no source {source!r}.", remedy=f"There are: {', '.join(found)}.")
    return found[source], found[source].table(table)


def _read_corrections(path: Path) -> Mapping[str, Mapping[str, Any]]:
    right: dict[str, Mapping[str, Any]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
            row = str(values.pop("id"))
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise CorrectionsError(
                f"{path}, line {number}: is no correction: {type(error).__name__}: {error}.",
                remedy='Accepted: {"id": "...", "column": value}, as `show --corrections` prints it.',
            ) from error
        if row in right:
            raise CorrectionsError(f"{path}, line {number}: row {row} is there twice.")
        right[row] = values
    if not right:
        raise CorrectionsError(f"{path} holds no correction.")
    return right


def _print_lines(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        typer.echo(json.dumps(row, ensure_ascii=False))


def _print_grid(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    grid = Grid()
    for column in columns:
        grid.add_column(column, justify="right" if column in {"rows", "row_number"} else "left")
    for row in rows:
        cells = (f"{value:,}" if isinstance(value, int) else str(value) for value in map(row.get, columns))
        grid.add_row(*(cell.replace("[", r"\[") for cell in cells))
    out.print(grid)

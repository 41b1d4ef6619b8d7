"""`headrace audit`: whether the invariants hold on what the pipeline has left behind."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from include.settings import settings

if TYPE_CHECKING:
    from include.audit.result import Result

BROKEN, UNREADABLE = 1, 2
STYLES = {"kept": "green", "broken": "red", "nothing to check": "dim"}

out, errors = Console(), Console(stderr=True)


def register(app: typer.Typer) -> None:
    """Adds the command to the root."""
    app.command("audit")(audit)


def audit(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    source: Annotated[
        bool,
        typer.Option(help="Compare rows with the sources; they must not have moved on since the ingest."),
    ] = True,
) -> None:
    """Check the invariants on the lake, the registry and the logs; exit 1 if one is broken, 2 if unreadable.

    It shares no code with what writes there. An invariant for which nothing was found is not counted as kept.
    """
    from include.audit.auditor import audit as run_audit
    from include.audit.errors import StoreUnreadable

    try:
        results = run_audit(settings(), with_source=source)
    except StoreUnreadable as error:
        errors.print(str(error), markup=False, highlight=False, style="red", soft_wrap=True)
        raise typer.Exit(UNREADABLE) from None
    if as_json:
        out.print_json(json.dumps([{**asdict(result), "outcome": result.outcome} for result in results]))
    else:
        _print(results)
    if any(result.violations for result in results):
        raise typer.Exit(BROKEN)


def _print(results: Sequence["Result"]) -> None:
    grid = Table()
    for column in ("", "invariant", "checked"):
        grid.add_column(column)
    grid.add_column("count", justify="right")
    grid.add_column("result")
    for result in results:
        told = "; ".join(filter(None, (result.subject, result.note)))
        style = STYLES[result.outcome]
        number = f" ({len(result.violations)})" if result.violations else ""
        grid.add_row(
            result.invariant,
            escape(result.promise),
            escape(told),
            f"{result.checked:,}",
            f"[{style}]{result.outcome}{number}[/]",
        )
    out.print(grid)
    for result in results:
        for violation in result.violations:
            line = f"{result.invariant} {violation.id}: {violation.what}"
            out.print(line, markup=False, highlight=False, style="red", soft_wrap=True)
    kept = sum(result.outcome == "kept" for result in results)
    broken = sum(result.outcome == "broken" for result in results)
    out.print(
        f"{kept} kept, {broken} broken, {len(results) - kept - broken} with nothing to check.",
        highlight=False,
    )

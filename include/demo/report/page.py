"""The report as one page for a browser: nothing is loaded from elsewhere, and no script runs."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from include.demo.report import charts, story, timeline, words
from include.demo.report.lines import CommitLine, RunLine, TableLine
from include.demo.report.report import Report

FOLDER = Path(__file__).parent
FILTERS = {
    "seconds": words.seconds,
    "size": words.size,
    "moment": words.moment,
    "clock": words.clock,
    "words": words.name,
    "plain": words.plain,
    "first_upper": words.first_upper,
    "path": words.path,
    "tight": words.tight,
    "measured": words.measured,
}


def render(report: Report) -> str:
    """The page, as HTML; the same report gives the same text.

    Every string of the report is escaped; only what this room draws is markup.
    """
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    return environment.get_template("page.html").render(
        report=report,
        story=story,
        style=Markup((FOLDER / "page.css").read_text()),  # noqa: S704  # our own file
        figures=_figures(report),
        acts=_acts(report),
        made_in=_made_in(report),
        commits={commit.commit for commit in report.commits},
        charts=charts,
        timeline=timeline.timeline(report.runs),
        tables=_tables(report),
    )


def _figures(report: Report) -> list[tuple[str, str]]:
    """The handful of numbers at the top: what they are, and how many."""
    work = report.work
    whole = work.seconds if work.seconds is not None else work.timing.span_seconds
    return [
        ("rows on main", f"{sum(table.rows for table in report.tables):,}"),
        ("commits of main", f"{sum(bool(commit.station) for commit in report.commits)}"),
        ("rules checked", f"{sum(_rules(commit) for commit in report.commits):,}"),
        ("predictions", f"{sum(one.rows for product in report.products for one in product.predictions):,}"),
        ("in all", words.seconds(whole)),
        ("orchestration", f"{work.orchestration_share:.0%}"),
    ]


def _rules(commit: CommitLine) -> int:
    number = commit.verdict.partition(", ")[2].partition(" ")[0]
    return int(number) if number.isdecimal() else 0


def _acts(report: Report) -> list[tuple[str, str, list[RunLine]]]:
    """The acts that were played, each with its name, what it is about, and its runs."""
    acts = {
        "first": ("First act", "As of the first moment: ingest, build, train, release, score, watch."),
        "later": ("Later act", "The truths have matured: judge the predictions, and train again if due."),
    }
    names = dict.fromkeys(run.act for run in report.runs)
    return [
        (*acts.get(act, (words.name(act), "")), [run for run in report.runs if run.act == act])
        for act in names
    ]


def _made_in(report: Report) -> dict[str, RunLine]:
    """The run that made each commit, by the commit's id."""
    runs = {(run.dag, run.run_id): run for run in report.runs}
    runs |= {(story.RELEASE, f"{run.dag}/{run.run_id}"): run for run in report.runs}
    found = ((commit.commit, runs.get((commit.station, commit.run_id))) for commit in report.commits)
    return {commit: run for commit, run in found if run is not None}


def _tables(report: Report) -> list[tuple[str, list[TableLine]]]:
    """The tables by the first folder of their path."""
    groups: dict[str, list[TableLine]] = {}
    for table in report.tables:
        groups.setdefault(table.table.partition("/")[0], []).append(table)
    return list(groups.items())

"""What happened, in sentences: the same on the page and in the terminal."""

from include.demo.report import words
from include.demo.report.lines import QUARANTINE, CommitLine, RunLine, TableLine
from include.demo.report.product_lines import (
    CandidateLine,
    ComparisonLine,
    MetricLine,
    MonitoringLine,
    ProductLine,
)
from include.demo.report.report import Report

RELEASE = "release"


def headline(report: Report) -> str:
    """The outcome in one line."""
    released = sum(product.champion is not None for product in report.products)
    if not any(product.candidates for product in report.products):
        return "The lake is filled" if report.tables else "Nothing is on main yet"
    if not released:
        return "No model has passed its gate yet"
    serve = "is" if released == 1 else "are"
    if released == len(report.products):
        return f"{words.first_upper(words.count(released, 'model'))} {serve} in service"
    models = words.count(len(report.products), "model")
    return f"{words.first_upper(words.in_words(released))} of {models} {serve} in service"


def lede(report: Report) -> str:
    """What was done, in a sentence or two."""
    raw = sum(table.rows for table in report.tables if table.table.startswith("raw/"))
    features = sum(table.table.startswith("features/") for table in report.tables)
    candidates = sum(len(product.candidates) for product in report.products)
    predicted = sum(batch.rows for product in report.products for batch in product.predictions)
    steps = [f"{raw:,} rows were read, gated and published"]
    if aside := sum(table.rows for table in _apart(report)):
        steps.append(f"{aside:,} kept apart")
    if features:
        steps.append(f"{words.count(features, 'feature table')} built")
    if candidates:
        steps.append(f"{words.count(candidates, 'candidate')} trained and judged")
    if predicted:
        steps.append(f"{predicted:,} predictions made")
    if len(report.runs) < 2:
        return f"{words.listed(steps)}."
    runs = words.count(len(report.runs), "run")
    return f"{words.listed(steps)}, by {runs} of Airflow's DAGs that set each other off."


def apart(report: Report) -> str:
    """How many rows broke their table's contract, of which tables; empty where none did."""
    tables = _apart(report)
    if not tables:
        return ""
    each = words.listed([f"{table.rows:,} of {table.table.partition('/')[2]}" for table in tables])
    rows = sum(table.rows for table in tables)
    return f"{words.count(rows, 'row')} broke the contract of their table and went apart: {each}."


def _apart(report: Report) -> list[TableLine]:
    """The tables of the quarantine, the largest first."""
    found = [table for table in report.tables if table.table.partition("/")[0] == QUARANTINE]
    return sorted(found, key=lambda table: -table.rows)


def took(report: Report) -> str:
    """How long it took, and what of it was not the stations' own work."""
    work, timing = report.work, report.work.timing
    whole = work.seconds if work.seconds is not None else timing.span_seconds
    told = (
        f"{words.seconds(whole)} in all: {words.seconds(timing.station_seconds)} of the stations' own work, "
        f"{words.seconds(timing.orchestration_seconds)} of orchestration ({work.orchestration_share:.0%} of "
        "the whole)"
    )
    around = whole - timing.span_seconds
    told += f", and {words.seconds(around)} before and after the runs." if around >= 1 else "."
    if report.already:
        now = words.seconds(report.seconds)
        return f"Nothing was left to do: this command took {now}. The one that did the work took {told}"
    return f"It took {told}"


def outcome(report: Report, run: RunLine) -> str:
    """What came of a run."""
    name = f"{run.dag}/{run.run_id}"
    judged = [one for product in report.products for one in product.candidates if one.made_by == name]
    if judged:
        return verdict(judged[0])
    made = [commit for commit in report.commits if (commit.station, commit.run_id) == (run.dag, run.run_id)]
    if made:
        return _committed(report, made[0])
    return "Nothing to add to main" if run.state == "success" else words.first_upper(run.state)


def _committed(report: Report, commit: CommitLine) -> str:
    """What a commit brought, from what it is about where that is known."""
    for product in report.products:
        for batch in product.predictions:
            if batch.commit == commit.commit:
                return (
                    f"{batch.rows:,} predictions as of {words.moment(batch.as_of)} by version {batch.version}"
                )
        for seen in product.monitoring:
            if seen.commit == commit.commit:
                found = f"{drift(seen)}; {matured(seen)}. {decision(seen)}"
                return f"As of {words.moment(seen.as_of)}: {found}"
    return f"{commit.message} ({commit.verdict})" if commit.verdict else commit.message


def verdict(candidate: CandidateLine) -> str:
    """What the gate said of a candidate."""
    told = metric(candidate.evaluation.metrics[0])
    against = candidate.comparison
    if candidate.passed:
        over = "" if against is None else f", {gain(against)} over version {against.champion_version}"
        return (
            f"{f'Released as version {candidate.version}' if candidate.version else 'Passed'}: {told}{over}"
        )
    if against is not None:
        return f"Version {against.champion_version} stays, the challenger's {gain(against)}; its {told}"
    broken = [finding.rule for finding in candidate.findings if finding.severity == "fail"]
    return f"Not released, broken: {'; '.join(broken)}; {told}"


def metric(line: MetricLine) -> str:
    """A metric with its interval, and what a constant guess reaches."""
    value, low, high = (words.measured(number) for number in (line.value, line.low, line.high))
    told = f"{words.plain(line.name)} {value} [{low}, {high}]"
    return told if line.no_skill is None else f"{told}, constant guess {words.measured(line.no_skill)}"


def gain(line: ComparisonLine) -> str:
    """What a challenger gained over the champion, with the bounds of the gain."""
    bounds = f"at least {line.low:+.3f}" if line.high is None else f"[{line.low:+.3f}, {line.high:+.3f}]"
    return f"gain {line.gain:+.3f} {bounds}, p = {line.p_value:.3f}"


def comparison(line: ComparisonLine) -> str:
    """The gain, of what, over whom, and on how much."""
    return (
        f"{gain(line)} in {words.plain(line.metric)} over version {line.champion_version}, on "
        f"{line.rows:,} rows of {line.entities:,} entities"
    )


def drift(line: MonitoringLine) -> str:
    """How far inputs and scores have moved."""
    inputs = [column for column in line.columns if column.column != "score"]
    moved = sum(column.drifted for column in inputs)
    score = next((column for column in line.columns if column.column == "score"), None)
    told = f"{moved} of {len(inputs)} inputs drifted"
    if score is not None:
        told += f", score PSI {score.psi:.2f}"
    return f"{told} ({'a breach' if line.breach else 'within bounds'})"


def matured(line: MonitoringLine) -> str:
    """What the predictions were worth, now that their truth is known."""
    rows = f"{line.matured_rows:,} predictions with a known truth"
    if line.performance is None:
        return rows if line.matured_rows else "no truth has matured yet"
    then = "" if line.at_release is None else f", {words.measured(line.at_release)} at release"
    return f"{metric(line.performance)}{then}; {rows}"


def decision(line: MonitoringLine) -> str:
    """What follows from it."""
    return f"Retrain: {'; '.join(line.reasons)}" if line.retrain else "No retraining is due"


def standing(product: ProductLine) -> str:
    """Where a product stands."""
    champion = product.champion
    if champion is not None:
        return f"Version {champion.version} serves"
    return "No candidate has passed the gate" if product.candidates else "Not trained yet"

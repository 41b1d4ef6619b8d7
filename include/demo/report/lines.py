"""The lines of the demo's report, product by product apart: stages, runs, tables, commits, audit, time."""

from dataclasses import dataclass

# First folder of the paths of tables that hold rows which broke their contract.
QUARANTINE = "quarantine"


@dataclass(frozen=True)
class Stage:
    """One stage of the demo: what it did and how long it took."""

    name: str
    seconds: float
    outcome: str


@dataclass(frozen=True)
class TaskLine:
    """One task of a run.

    Args:
        task: Its id, with the text of its map index where it is one of several.
        state: As Airflow names it; empty before it is scheduled.
        started: When its last try began, in seconds since 1970; None before it did.
        ended: When it ended.
        work_seconds: The station's own work as the listener measured it, None where it is not known.
        peak_memory_bytes: Highest resident memory of its process, None where it did not tell.
    """

    task: str
    state: str
    started: float | None
    ended: float | None
    work_seconds: float | None
    peak_memory_bytes: int | None


@dataclass(frozen=True)
class RunLine:
    """One run of a DAG.

    Args:
        dag: Id of the DAG.
        run_id: Id of the run.
        state: As Airflow names it.
        act: `first` for what the ingestion set off, `later` for what followed when truths had matured.
        started: When it began, in seconds since 1970.
        ended: When it ended.
        as_of: Moment whose knowledge it used, ISO 8601, UTC; empty where none was asked for.
        triggered_by: The runs whose events set it off, each as `dag/run`.
        url: Where Airflow shows it.
        tasks: In order of their start.
    """

    dag: str
    run_id: str
    state: str
    act: str
    started: float | None
    ended: float | None
    as_of: str
    triggered_by: tuple[str, ...]
    url: str
    tasks: tuple[TaskLine, ...]


@dataclass(frozen=True)
class TableLine:
    """One published table and its gate.

    Args:
        table: Lake path.
        rows: On main.
        files: Parquet files.
        size_bytes: Of these.
        rules: Expectations of its suite; 0 where it is audited by code.
        warnings: Of them, those that did not hold when it was last published, and do not refuse.
    """

    table: str
    rows: int
    files: int
    size_bytes: int
    rules: int
    warnings: int


@dataclass(frozen=True)
class CommitLine:
    """One commit of main.

    Args:
        commit: Its id.
        at: When, in seconds since 1970.
        station: The station or DAG that made it; empty for a commit of no run.
        run_id: Its run.
        verdict: Of the gates, with how many rules they checked; empty where none had to be passed.
        suite_hash: Of these rules.
        message: One line.
        rows: Rows that it added.
        url: Where its page is.
    """

    commit: str
    at: float
    station: str
    run_id: str
    verdict: str
    suite_hash: str
    message: str
    rows: int
    url: str


@dataclass(frozen=True)
class AuditLine:
    """One invariant: what must hold, how many things were checked, and how many broke it."""

    id: str
    what: str
    checked: int
    broken: int


@dataclass(frozen=True)
class Timing:
    """Where the time of some runs went.

    Args:
        span_seconds: From the first run's start to the last run's end.
        station_seconds: Of it, while at least one station did its own work.
        orchestration_seconds: The rest: starting processes, waiting, handing over.
        unmeasured: Tasks that ran and whose own work is not known; it counts as orchestration.
    """

    span_seconds: float
    station_seconds: float
    orchestration_seconds: float
    unmeasured: int


@dataclass(frozen=True)
class Work:
    """The command that did the work.

    Args:
        began: When, in seconds since 1970; None where no report of it is left.
        seconds: In all.
        stages: In order of their end.
        timing: Of its runs.
    """

    began: float | None
    seconds: float | None
    stages: tuple[Stage, ...]
    timing: Timing

    @property
    def orchestration_share(self) -> float:
        """Of all the command took, as far as that is known, else of the span of the runs; 0 to 1."""
        whole = self.seconds or self.timing.span_seconds
        return self.timing.orchestration_seconds / whole if whole else 0.0

"""Small frozen references that stations take and return; they, and only they, cross XCom.

Readers name a commit, never a moving branch: a `CommitRef` read twice gives the same bytes.
"""

from dataclasses import dataclass
from typing import Literal

from include.spec.logged import Logged
from include.spec.restored import Restored
from include.spec.verdict import Verdict

# The key under which a run is given its moment, and hands it on to those that it sets off; ISO 8601.
AS_OF = "as_of"


@dataclass(frozen=True)
class CommitRef:
    """A commit of a lake repository; all paths read through it are immutable."""

    repository: str
    commit: str


@dataclass(frozen=True)
class DraftRef:
    """A run's own branch of the lake: written and audited apart from main until it is merged.

    Args:
        repository: Name of the lake repository.
        branch: Slug of the run id; the same run always gets the same branch.
        run_id: The run that writes it, as the orchestrator names it.
        base: Commit of main that the branch started from.
        station: The station (or DAG) that the run id belongs to.
        attempt: Which attempt of the run opened it; a step of an earlier one fails instead of mixing in.
    """

    repository: str
    branch: str
    run_id: str
    base: str
    station: str = ""
    attempt: str = ""


@dataclass(frozen=True)
class TableRef(Restored):
    """A table as it stands at one commit: the objects under `prefix`."""

    at: CommitRef
    prefix: str


@dataclass(frozen=True)
class Position:
    """How far a source has been read, in the source's own terms.

    Args:
        kind: `lsn` (log position), `cursor` (highest value of a column), `files` (last file landed) or
            `snapshot` (the whole table as of a moment).
        value: The position as text, exactly as the source gives it.
        table: The table it concerns; empty for the whole source.
    """

    kind: Literal["lsn", "cursor", "files", "snapshot"]
    value: str
    table: str = ""


@dataclass(frozen=True)
class Watermark(Restored):
    """What one commit of the lake holds of a source: read and written with the data, never apart from it.

    Args:
        source: Name of the source, as in `raw/<source>/`.
        positions: One per table, or a single one for the whole source.
        run_id: The run that wrote it.
    """

    source: str
    positions: tuple[Position, ...]
    run_id: str


@dataclass(frozen=True)
class Published(Restored):
    """A run whose draft is on main, or had nothing to add to it.

    Args:
        run_id: The run, as the orchestrator names it.
        station: The station (or DAG) that the run id belongs to.
        commit: The commit of main to read: the merge that published the run, or, where nothing
            changed, the commit of main that already held the same bytes.
        changed: False when the draft differed in nothing from main; main then got no commit.
        suite_hash: Hash of the suites that passed.
        rows: Rows in the files that the run wrote, per table (lake path), where known.
    """

    run_id: str
    station: str
    commit: CommitRef
    changed: bool
    suite_hash: str = ""
    rows: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Refused(Restored):
    """A run whose draft did not pass its gates: main is untouched, the branch is kept for inspection.

    Args:
        run_id: The run, as the orchestrator names it.
        station: The station (or DAG) that the run id belongs to.
        branch: The branch that keeps what was refused.
        commit: Its last commit; reading it gives what the gates saw.
        verdict: What the gates decided; of many findings the worst are kept.
        refused_at_s: When, in seconds since the epoch.
    """

    run_id: str
    station: str
    branch: str
    commit: CommitRef
    verdict: Verdict
    refused_at_s: int


@dataclass(frozen=True)
class Landed(Restored):
    """One table as a run landed it on its draft.

    Args:
        table: Lake path, such as `raw/retail/transactions`.
        rows: Rows of the whole snapshot.
        size_bytes: Of its Parquet files.
        files: How many they are.
        changed: Whether it differs from the snapshot that main held; if not, nothing was written.
        seconds: From the first read to the last byte on the draft.
        position: How far the source was read, for the watermark.
        quarantined: Rows that were read with them, and broke the table's contract.
        rows_in: Rows that were read, or kept of files that were read before, as they were counted then.
    """

    table: str
    rows: int
    size_bytes: int
    files: int
    changed: bool
    seconds: float
    position: Position
    quarantined: int = 0
    rows_in: int = 0


@dataclass(frozen=True)
class Landing(Restored):
    """What one task landed: all tables that are read together.

    Args:
        source: Name of the source.
        origin: What was read: a database, or a folder of files.
        tables: In order of declaration.
        seconds: Of the whole task's work.
        peak_memory_bytes: Highest resident memory of the process.
    """

    source: str
    origin: str
    tables: tuple[Landed, ...]
    seconds: float
    peak_memory_bytes: int


@dataclass(frozen=True)
class Judged(Restored):
    """What the gates decided on a draft, and what deciding took.

    Args:
        verdict: The decision.
        seconds: Of reading and checking.
        peak_memory_bytes: Highest resident memory of the process.
    """

    verdict: Verdict
    seconds: float
    peak_memory_bytes: int


@dataclass(frozen=True)
class Captured(Restored):
    """What one capture of changes wrote on its draft.

    Args:
        source: Name of the source.
        position: How far the log was read; the watermark that lies with the changes.
        rows: Changes that were written.
        tables: Of each table that had any, by its lake path.
        first: Whether these are the tables as a new slot began, rather than changes behind a position.
        behind_bytes: Of log that was written behind the position meanwhile.
        seconds: Of the capture.
        changed: Whether there is anything to publish: changes, or a position that moved far without any.
        quarantined: Changes among `rows` that were put aside, by the table's lake path.
        logged: What became of the changes, by table.
    """

    source: str
    position: Position
    rows: int
    tables: tuple[tuple[str, int], ...]
    first: bool
    behind_bytes: int
    seconds: float
    changed: bool
    quarantined: tuple[tuple[str, int], ...] = ()
    logged: tuple[Logged, ...] = ()


@dataclass(frozen=True)
class CandidateRef:
    """A fitted model that is kept with its run, before and apart from any registration.

    Args:
        product: Name of the model product.
        run_id: The registry's run that holds parameters, metrics and the bundle.
        model_uri: Where the registry keeps the bundle.
        digest: The bundle's digest.
    """

    product: str
    run_id: str
    model_uri: str
    digest: str


@dataclass(frozen=True)
class ModelRef:
    """A registered model version.

    Args:
        product: Registered model's name.
        version: Its version, as the registry counts.
        run_id: The run that made it.
        digest: The bundle's digest; a model is loaded only if its bytes still have it.
    """

    product: str
    version: str
    run_id: str
    digest: str


@dataclass(frozen=True)
class Built(Restored):
    """What one feature build wrote on its draft.

    Args:
        source: Name of the source.
        data: Commit that the raw tables were read at.
        tables: Lake paths of the feature tables.
        manifest_hash: Hash of the dbt project and its engines.
        seconds: Of the build.
        changed: Whether any table differs from what main held.
    """

    source: str
    data: CommitRef
    tables: tuple[str, ...]
    manifest_hash: str
    seconds: float
    changed: bool


@dataclass(frozen=True)
class TrainingSetRef(Restored):
    """A pinned training set in the lake.

    Args:
        product: Name of the model product.
        id: First digits of its content's hash.
        at: Commit that holds it.
        prefix: Its folder.
        features_at: Commit of the feature tables that it was pinned from.
        as_of: Moment that it was pinned as of, ISO 8601, UTC.
    """

    product: str
    id: str
    at: CommitRef
    prefix: str
    features_at: CommitRef
    as_of: str


@dataclass(frozen=True)
class JudgedCandidate(Restored):
    """A candidate with its training set and what the gate said of it.

    Args:
        candidate: The fitted model.
        training_set: What it was fitted on and judged by.
        verdict: Of the gate.
        primary: The primary metric on the test period.
        champion_version: Version it was compared with; empty where there was none.
    """

    candidate: CandidateRef
    training_set: TrainingSetRef
    verdict: Verdict
    primary: float
    champion_version: str = ""


@dataclass(frozen=True)
class Scored(Restored):
    """A batch of predictions on its draft.

    Args:
        product: Name of the model product.
        model: The champion that scored.
        features_at: Commit of the features.
        as_of: Moment whose knowledge was used, ISO 8601, UTC.
        rows: How many predictions.
    """

    product: str
    model: ModelRef
    features_at: CommitRef
    as_of: str
    rows: int


@dataclass(frozen=True)
class Monitored(Restored):
    """What monitoring found of a champion, and what is to be done.

    Args:
        product: Name of the model product.
        model: The champion.
        as_of: Moment whose knowledge was used, ISO 8601, UTC.
        share_drifted: Share of the inputs that drifted.
        drift_breach: Whether inputs or scores crossed the product's bounds.
        matured_rows: Predictions whose truth is known.
        performance: Primary metric on them, or None where there are too few.
        retrain: Whether a new candidate is to be trained.
        reasons: Why.
        published: Commit of main that holds the findings.
    """

    product: str
    model: ModelRef
    as_of: str
    share_drifted: float
    drift_breach: bool
    matured_rows: int
    performance: float | None
    retrain: bool
    reasons: tuple[str, ...]
    published: CommitRef


@dataclass(frozen=True)
class Freed:
    """What one step of the lake's upkeep took away, or would have.

    Args:
        what: Drafts, objects, contents of the cache, or leftovers.
        count: How many.
        size_bytes: Of them; 0 where nobody knows, as of branches.
        dry_run: Whether they were only counted.
        names: The first of them, where they have names, each with the reason.
    """

    what: str
    count: int
    size_bytes: int
    dry_run: bool
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Staged(Restored):
    """The staged tables of a source, as a run brought them on its draft to what the change logs say.

    Args:
        source: Name of the source.
        data: Commit that the change logs were read at.
        tables: Lake paths of the tables that have a log.
        seconds: Of the whole.
        changed: Whether any differs from what main held.
    """

    source: str
    data: CommitRef
    tables: tuple[str, ...]
    seconds: float
    changed: bool

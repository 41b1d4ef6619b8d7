"""A report with everything in it, and one of a demo that ended after the ingestion."""

from dataclasses import replace

from include.demo.report.lines import AuditLine, CommitLine, RunLine, Stage, TableLine, TaskLine, Work
from include.demo.report.product_lines import (
    CandidateLine,
    ComparisonLine,
    CurvesLine,
    DriftLine,
    EvaluationLine,
    ImportanceLine,
    MetricLine,
    MonitoringLine,
    PredictionLine,
    ProductLine,
    SliceLine,
    VersionLine,
)
from include.demo.report.report import Report
from include.demo.report.timing import timing
from include.spec.verdict import Finding

AIRFLOW = "http://127.0.0.1:8080"
COMMIT = "c0ffee" * 10
BEGAN = 1_700_000_000.0
MISSED = Finding("registry/coupon_redemption", "average_precision better than the champion's", "gain -0.01")


def task(name: str, started: float, ended: float, work: float | None) -> TaskLine:
    return TaskLine(name, "success", BEGAN + started, BEGAN + ended, work, 1_200_000_000)


def run(dag: str, run_id: str, act: str, *tasks: TaskLine) -> RunLine:
    started = min(one.started for one in tasks if one.started is not None)
    ended = max(one.ended for one in tasks if one.ended is not None)
    url = f"{AIRFLOW}/dags/{dag}/runs/{run_id}"
    return RunLine(dag, run_id, "success", act, started, ended, "2017-11-02T06:00:00", (), url, tasks)


INGESTION = run(
    "ingest_batch__retail",
    "demo__all",
    "first",
    task("land retail", 40, 60, 18.0),
    task("land promotions", 41, 70, 27.0),
    task("gate", 71, 80, 8.0),
    TaskLine("refuse", "skipped", None, None, None, None),
)
TRAINING = run("train__coupon_redemption", "triggered_1", "first", task("fit", 82, 90, 6.0))
AGAIN = run("train__coupon_redemption", "triggered_2", "later", task("fit", 100, 110, 9.0))

EVALUATION = EvaluationLine(
    rows=1461,
    base_rate=0.146,
    metrics=(
        MetricLine("average_precision", 0.402, 0.347, 0.468, 0.9, 0.146),
        MetricLine("roc_auc", 0.759, 0.732, 0.787, 0.9),
    ),
    calibration_error=0.034,
    curves=CurvesLine(
        (0.0, 0.2, 1.0),
        (0.1, 0.6, 1.0),
        (0.1, 0.6, 1.0),
        (1.0, 0.5, 0.146),
        (0.05, 0.1, 0.4),
        (0.04, 0.12, 0.38),
        (487, 487, 487),
    ),
    slices=(SliceLine("campaign_type", "Type A", 1077, 0.465, 0.182),),
    importance=(
        ImportanceLine("coupon_visits_91d", 0.09, 0.07, 0.11),
        ImportanceLine("age", -0.01, -0.02, 0),
    ),
)
COMPARISON = ComparisonLine("1", "average_precision", -0.011, -0.03, 0.01, 0.81, 1461, 1116)
FIRST = CandidateLine(
    run_id="f6b749c490e7",
    made_by="train__coupon_redemption/triggered_1",
    version="1",
    as_of="2017-11-02T06:00:00",
    url="http://127.0.0.1:5000/#/experiments/1/runs/f6b749c490e7",
    training_set_id="6b18ffce08aac6de",
    rows=(("train", 361, 0.1), ("test", 1461, 0.146)),
    passed=True,
    checked=4,
    findings=(),
    evaluation=EVALUATION,
    comparison=None,
)
CHALLENGER = replace(
    FIRST,
    run_id="aaaa49c490e7",
    made_by="train__coupon_redemption/triggered_2",
    version="",
    passed=False,
    findings=(MISSED,),
    comparison=COMPARISON,
)
SHARES = (0.5, 0.4, 0.1)
WATCHED = MonitoringLine(
    as_of="2017-12-31T06:00:00",
    version="1",
    rows=1764,
    columns=(
        DriftLine("tenure_days", 16.4, True, SHARES, (0.0, 0.1, 0.9)),
        DriftLine("score", 0.03, False, SHARES, (0.45, 0.45, 0.1)),
    ),
    share_drifted=0.82,
    breach=True,
    matured_rows=1764,
    performance=MetricLine("average_precision", 0.35, 0.3, 0.41, 0.9, 0.15),
    at_release=0.402,
    retrain=True,
    reasons=("the champion is 60 days old",),
    commit="0ddba11" * 9,
)
PRODUCT = ProductLine(
    name="coupon_redemption",
    description="Chance that a household redeems a coupon.",
    owner="growth@retailer.example",
    model="gradient_boosting",
    primary="average_precision",
    drift_bound=0.25,
    versions=(
        VersionLine(
            version="1",
            run_id=FIRST.run_id,
            champion=True,
            digest="b0884a704659bc16",
            url="http://127.0.0.1:5000/#/models/coupon_redemption/versions/1",
            manifest="releases/coupon_redemption/1.json",
            signed=True,
            signer="release",
            tags=(("data_commit", COMMIT), ("training_set_id", "6b18ffce08aac6de")),
        ),
    ),
    candidates=(FIRST, CHALLENGER),
    predictions=(PredictionLine("2017-11-02T06:00:00", 1764, "1", "5c04ed" * 10),),
    monitoring=(WATCHED,),
)
UNTRAINED = replace(
    PRODUCT, name="household_lapse", versions=(), candidates=(), predictions=(), monitoring=()
)

STAGES = (Stage("stack", 34.2, "all servers are healthy"), Stage("first act", 50.0, "2 runs"))
RUNS = (INGESTION, TRAINING, AGAIN)
WHOLE = Report(
    already=False,
    began=BEGAN,
    seconds=120.0,
    stages=STAGES,
    work=Work(BEGAN, 120.0, STAGES, timing(RUNS)),
    runs=RUNS,
    commits=(
        CommitLine(
            commit=COMMIT,
            at=BEGAN + 80,
            station="ingest_batch__retail",
            run_id="demo__all",
            verdict="passed, 77 rules",
            suite_hash="ab" * 32,
            message="Ingest retail: coupons",
            rows=116_188,
            url=f"{AIRFLOW}/headrace/commits/{COMMIT}",
        ),
    ),
    tables=(
        TableLine("raw/retail/coupons", 116_188, 1, 900_000, 8, 1),
        TableLine("quarantine/retail/coupons", 16, 1, 4_000, 0, 0),
        TableLine("quarantine/retail/transactions", 8_901, 1, 90_000, 0, 0),
    ),
    warnings=(Finding("raw/retail/coupons", "a coupon names a product once", "4872", "warn"),),
    products=(PRODUCT, UNTRAINED),
    audit=(AuditLine("I1", "no lost row", 116_204, 0), AuditLine("I6", "slot position", 0, 0)),
    urls={"Airflow": AIRFLOW, "MLflow": "http://127.0.0.1:5000", "Lake": "http://127.0.0.1:8000"},
)
FIRST_LIGHT = replace(
    WHOLE,
    runs=(INGESTION,),
    work=Work(BEGAN, 81.0, STAGES, timing([INGESTION])),
    products=(replace(UNTRAINED, name="coupon_redemption"), UNTRAINED),
    audit=(),
)

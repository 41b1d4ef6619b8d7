"""What crosses XCom comes back as it was, references within references included."""

import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from include.spec.refs import (
    CommitRef,
    DraftRef,
    Freed,
    Judged,
    Landed,
    Landing,
    Position,
    Published,
    Refused,
)
from include.spec.verdict import Finding, Verdict

VERDICT = Verdict(False, "ab" * 32, 7, (Finding("raw/retail/orders", "unique(id)", "2 of 10"),))
LANDED = Landed("raw/retail/orders", 10, 99, 1, True, 0.5, Position("snapshot", "c0ffee", "orders"))
VALUES = [
    CommitRef("lake", "c0ffee"),
    DraftRef("lake", "branch", "run", "base", "station"),
    VERDICT,
    Verdict(True, "", 1),
    Judged(VERDICT, 1.5, 10),
    Landing("retail", "retail", (LANDED, LANDED), 1.0, 10),
    Landing("retail", "retail", (), 1.0, 10),
    Published("run", "station", CommitRef("lake", "c0ffee"), True, "ab", (("raw/retail/orders", 3),)),
    Freed("drafts", 2, 0, True, ("draft-a: abandoned",)),
    Refused("run", "station", "branch", CommitRef("lake", "c0ffee"), VERDICT, 5),
]

_ROUND_TRIP = """
import json, sys
from airflow.sdk.serde import deserialize, serialize
from tests.dags.test_xcom import VALUES
for value in VALUES:
    back = deserialize(json.loads(json.dumps(serialize(value))))
    assert type(back) is type(value) and back == value, (back, value)
print(len(VALUES))
"""


def test_values_cross_xcom_whole(tmp_path):
    # Airflow reads its configuration once per process: this one has the stack's.
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__ALLOWED_DESERIALIZATION_CLASSES": "include.spec.refs.* include.spec.verdict.*",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    done = subprocess.run(
        [sys.executable, "-c", _ROUND_TRIP], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[-1] == str(len(VALUES))


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_taken_apart_is_put_together(value):
    assert type(value)(**asdict(value)) == value

import importlib
import json

import pytest

from bench.__main__ import BENCHES
from bench.report import Claim, Report, Samples, timed


def test_quantiles_of_samples():
    samples = Samples(tuple(float(number) for number in range(100, 0, -1)))
    assert (samples.p50_s, samples.p99_s, samples.quantile_s(1.0)) == (50.0, 99.0, 100.0)
    assert Samples((7.0,)).p99_s == 7.0


def test_timed_leaves_warm_ups_out():
    calls = []
    assert len(timed(lambda: calls.append(1), 5, warm=2).times_s) == 5
    assert len(calls) == 7


@pytest.mark.parametrize(("ratio", "holds"), [(2.9, True), (3.0, True), (3.1, False)])
def test_a_claim_holds_up_to_its_bound(ratio, holds):
    assert Claim("x", ratio, 3.0).holds is holds


def test_a_report_is_kept_as_json(tmp_path, capsys):
    report = Report("sample")
    report.show("table", [{"what": "a", "ratio": 1.5, "count": 1000}])
    report.claim("cheap", 4.0, 3.0)
    kept = json.loads(report.save(tmp_path / "bench").read_text())
    assert kept["tables"] == {"table": [{"what": "a", "ratio": 1.5, "count": 1000}]}
    assert kept["claims"] == [{"text": "cheap", "ratio": 4.0, "bound": 3.0, "holds": False}]
    assert kept["machine"]["cpus"] > 0
    assert "1,000" in capsys.readouterr().out


def test_every_bench_can_be_run():
    assert set(BENCHES) >= {"lake_server", "lake_client", "cdc"}
    for name in BENCHES:
        assert callable(importlib.import_module(f"bench.{name}").run)

"""The report is kept whole, printed again, and printed as it was made."""

import pytest
from typer.testing import CliRunner

from include.cli.main import app
from include.demo.airflow_api import _plain
from include.demo.report import NoReportError, Report, Stage, TableLine, TimedTask, load_report, save_report
from include.settings import Settings
from include.spec.verdict import Finding

REPORT = Report(
    run_id="demo__all",
    already=False,
    commit="c0ffee" * 10,
    verdict="passed",
    suite_hash="ab" * 32,
    warnings=(Finding("raw/retail/coupons", "every product is known", "16", "warn"),),
    stages=(Stage("stack", 12.3, "all servers are healthy"),),
    tasks=(TimedTask("gate", "success", 9.5, 1_200_000_000), TimedTask("refuse", "skipped", None, None)),
    tables=(TableLine("raw/retail/coupons", 116_204, 1, 900_000, 1.5, 8, 1),),
    seconds=81.0,
    urls={"Airflow": "http://127.0.0.1:8080/dags/ingest_batch__retail/runs/demo__all"},
)


def test_a_saved_report_loads_as_it_was(tmp_path):
    save_report(Settings(home=tmp_path), REPORT)
    assert load_report(tmp_path) == REPORT
    assert [path.name for path in (tmp_path / "reports").iterdir()] == ["first_light.json"]


def test_without_a_report_the_remedy_is_named(tmp_path):
    with pytest.raises(NoReportError, match="headrace demo"):
        load_report(tmp_path)
    result = CliRunner().invoke(app, ["report", "--home", str(tmp_path)])
    assert result.exit_code == 1


def test_the_report_prints_what_a_person_looks_for(tmp_path):
    save_report(Settings(home=tmp_path), REPORT)
    result = CliRunner().invoke(app, ["report", "--home", str(tmp_path)], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for words in (
        *("raw/retail/coupons", "116,204", "1200", REPORT.commit, "gates passed", "every product is known"),
        *("runs/demo__all", "headrace down", "81 s", "12.3"),
    ):
        assert words in result.output


def test_dataclasses_in_airflows_own_form_become_plain():
    inner = {"__classname__": "x.Y", "__version__": 1, "__data__": {"rows": 3}}
    many = {"__classname__": "builtins.tuple", "__version__": 1, "__data__": [inner, inner]}
    outer = {"__classname__": "x.Z", "__version__": 1, "__data__": {"tables": many, "name": "a"}}
    assert _plain(outer) == {"tables": [{"rows": 3}, {"rows": 3}], "name": "a"}

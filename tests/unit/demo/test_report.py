"""The report is kept whole, printed again, and printed as it was made."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from include.cli.main import app
from include.demo.airflow_api import _plain
from include.demo.report import report as report_module
from include.demo.report.report import NoReportError, load_report, save_report, write_page
from include.settings import Settings
from tests.unit.demo.report_samples import COMMIT, FIRST_LIGHT, WHOLE


@pytest.mark.parametrize("made", [WHOLE, FIRST_LIGHT], ids=["whole", "first light"])
def test_a_saved_report_loads_as_it_was(tmp_path, made):
    save_report(Settings(home=tmp_path), made)
    assert load_report(tmp_path) == made
    assert [path.name for path in (tmp_path / "reports").iterdir()] == ["demo.json"]


def test_without_a_report_the_remedy_is_named(tmp_path):
    with pytest.raises(NoReportError, match="headrace demo"):
        load_report(tmp_path)
    result = CliRunner().invoke(app, ["report", "--home", str(tmp_path)])
    assert result.exit_code == 1


@pytest.mark.parametrize("text", ["{", "[]", '{"already": true}'])
def test_a_report_of_another_version_is_refused_by_its_name(tmp_path, text):
    path = tmp_path / "reports" / "demo.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(NoReportError, match=r"demo\.json is no report of this version"):
        load_report(tmp_path)


def printed(home, columns: int) -> str:
    result = CliRunner().invoke(app, ["report", "--home", str(home)], env={"COLUMNS": str(columns)})
    assert result.exit_code == 0, result.output
    return result.output


def test_the_report_prints_what_a_person_looks_for(tmp_path):
    save_report(Settings(home=tmp_path), WHOLE)
    write_page(Settings(home=tmp_path), WHOLE)
    output = printed(tmp_path, 200)
    for words in (
        *("One of two models is in service", "Version 1 serves", "Not trained yet"),
        *("raw/retail/coupons", "116,188", COMMIT[:12], "passed, 77 rules", "a coupon names a product once"),
        "116,188 rows were read, gated and published, 8,917 kept apart,",
        "8,917 rows broke the contract of their table and went apart: 8,901 of retail/transactions and 16",
        "of retail/coupons. What each broke: headrace quarantine list",
        *("average precision 0.402 [0.347, 0.468], constant guess 0.146", "signature holds"),
        *(
            "lost: gain -0.011 [-0.030, +0.010], p = 0.810 in average precision over version 1",
            "1 of 1 inputs drifted",
            "0.402 at release",
        ),
        *("Retrain: the champion is 60 days old", "no lost row", "headrace down", "all servers are healthy"),
        *("2 min 00 s in all", "(16% of the whole)", (tmp_path / "reports" / "demo.html").as_uri()),
        *(run.url for run in WHOLE.runs),
        *WHOLE.urls.values(),
    ):
        assert words in output


def test_on_eighty_columns_no_address_table_or_number_is_cut(tmp_path):
    save_report(Settings(home=tmp_path), WHOLE)
    output = printed(tmp_path, 80)
    assert "…" not in output
    for words in ("raw/retail/coupons", "116,188", *(run.url for run in WHOLE.runs), *WHOLE.urls.values()):
        assert words in output


def test_products_without_a_champion_are_told_of(tmp_path):
    save_report(Settings(home=tmp_path), FIRST_LIGHT)
    output = printed(tmp_path, 80)
    assert "The lake is filled" in output
    assert output.count("Not trained yet") == 2


@pytest.fixture
def stores(monkeypatch):
    """Stores that hold nothing: what is asked here is which figures a report keeps."""
    monkeypatch.setattr("include.lake.Lake.connect", lambda settings: None)
    monkeypatch.setattr(report_module, "history", lambda lake: [])
    monkeypatch.setattr(report_module, "table_lines", lambda lake, warned: ())
    monkeypatch.setattr("include.demo.report.from_registry.product_lines", lambda settings, lake, entries: ())


def made(home, *, already: bool, runs=WHOLE.runs, seconds: float = 9.0):
    return report_module.make_report(
        Settings(home=home), runs=runs, stages=(), seconds=seconds, began=5e9, already=already
    )


def test_a_demo_that_finds_all_done_keeps_the_figures_of_the_one_that_did_it(tmp_path, stores):
    save_report(Settings(home=tmp_path), WHOLE)
    again = made(tmp_path, already=True)
    assert again.work == WHOLE.work
    assert (again.seconds, again.began, again.already) == (9.0, 5e9, True)
    save_report(Settings(home=tmp_path), again)
    assert made(tmp_path, already=True).work == WHOLE.work, "the third loses them"
    output = printed(tmp_path, 200)
    assert "Nothing was left to do: this command took 9.0 s" in output
    assert "2 min 00 s in all" in output


def test_figures_of_other_runs_are_not_taken_for_ours(tmp_path, stores):
    save_report(Settings(home=tmp_path), WHOLE)
    other = made(tmp_path, already=True, runs=WHOLE.runs[:1])
    assert other.work.seconds is None
    assert other.work.timing.span_seconds == pytest.approx(40)


def test_runs_come_in_order_of_their_start_whatever_the_order_given(tmp_path, stores):
    waiting = replace(WHOLE.runs[0], run_id="waiting", started=None)
    report = made(tmp_path, already=False, runs=[waiting, *WHOLE.runs[::-1]])
    assert [run.run_id for run in report.runs] == ["demo__all", "triggered_1", "triggered_2", "waiting"]


def test_no_document_of_the_report_holds_a_number_that_is_none(tmp_path):
    nothing = replace(WHOLE, products=())
    save_report(Settings(home=tmp_path), nothing)
    json.loads((tmp_path / "reports" / "demo.json").read_text(), parse_constant=pytest.fail)


def test_dataclasses_in_airflows_own_form_become_plain():
    inner = {"__classname__": "x.Y", "__version__": 1, "__data__": {"rows": 3}}
    many = {"__classname__": "builtins.tuple", "__version__": 1, "__data__": [inner, inner]}
    outer = {"__classname__": "x.Z", "__version__": 1, "__data__": {"tables": many, "name": "a"}}
    assert _plain(outer) == {"tables": [{"rows": 3}, {"rows": 3}], "name": "a"}

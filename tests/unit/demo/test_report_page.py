"""The page is whole, loads nothing, runs nothing, and never takes a name for markup."""

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from include.demo.report.page import render
from include.demo.report.plots import nice, ticks
from include.spec.verdict import Finding
from tests.unit.demo.report_samples import COMMIT, FIRST_LIGHT, PRODUCT, UNTRAINED, WHOLE

VOID = {"meta", "br", "path", "line", "rect", "circle"}
LOADS = {"src", "srcset", "data", "poster", "action", "formaction", "background", "manifest"}
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """Reads a page and fails where an element is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open[-1:]:
            self.text += data


@pytest.mark.parametrize("made", [WHOLE, FIRST_LIGHT], ids=["whole", "first light"])
def test_the_page_is_well_formed_and_the_same_each_time(made):
    text = render(made)
    page = Page(text)
    assert {"html", "style", "main", "table"} <= set(page.tags)
    assert text == render(made)
    identifiers = [value for _, name, value in page.attributes if name == "id"]
    assert len(identifiers) == len(set(identifiers))


def test_nothing_is_loaded_and_no_script_runs():
    page = Page(render(WHOLE))
    assert not {"script", "link", "img", "iframe", "object", "embed", "base"} & set(page.tags)
    assert not [(tag, name) for tag, name, _ in page.attributes if name in LOADS or name.startswith("on")]
    style = render(WHOLE).partition("<style>")[2].partition("</style>")[0]
    assert len(style) > 1000
    assert "url(" not in style
    assert "@import" not in style
    for _, name, value in page.attributes:
        if "://" in value:
            assert name in {"href", "xmlns"}, value


def test_every_link_leads_to_a_place_of_the_report_or_of_the_page():
    page = Page(render(WHOLE))
    links = {value for tag, name, value in page.attributes if (tag, name) == ("a", "href")}
    known = {*WHOLE.urls.values(), *(run.url for run in WHOLE.runs), *(one.url for one in WHOLE.commits)}
    known |= {one.url for one in PRODUCT.versions} | {one.url for one in PRODUCT.candidates}
    assert {link for link in links if not link.startswith("#")} == known
    identifiers = {value for _, name, value in page.attributes if name == "id"}
    assert {value for tag, name, value in page.attributes if (tag, name) == ("a", "rel")} == {"noopener"}
    assert {link[1:] for link in links if link.startswith("#")} <= identifiers
    assert f"commit-{COMMIT}" in identifiers


def test_the_plots_that_were_asked_for_are_there():
    page = Page(render(WHOLE))
    titles = {value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")}
    assert titles == {"ROC curve", "Precision-recall curve", "Calibration curve", "Shares of scores"}
    for words in ("coupon_visits_91d", "tenure_days", "16.40", "Where the time went", "land promotions"):
        assert words in page.text


def test_what_a_gate_said_of_a_challenger_is_told():
    text = Page(render(WHOLE)).text
    assert "Gain -0.011 [-0.030, +0.010], p = 0.810 in average precision over version 1" in text
    assert "Retrain" in text or "retrain" in text


def test_a_product_without_champion_and_one_without_candidate_are_told_of():
    refused = replace(PRODUCT, versions=(), candidates=PRODUCT.candidates[1:], monitoring=())
    text = Page(render(replace(WHOLE, products=(refused, UNTRAINED)))).text
    assert "No candidate has passed the gate" in text
    assert "No model has passed its gate yet" in text
    assert "No candidate has been judged yet" in text
    assert "average_precision better than the champion's" in text


def test_what_is_apart_is_told_and_nothing_where_nothing_is():
    told = "went apart: 8,901 of retail/transactions and 16 of retail/coupons. What each broke: headrace"
    assert told in Page(render(WHOLE)).text
    published = tuple(table for table in WHOLE.tables if table.table.startswith("raw/"))
    assert "apart" not in Page(render(replace(WHOLE, tables=published))).text


def test_a_report_about_nothing_is_a_page_too():
    nothing = replace(WHOLE, runs=(), tables=(), commits=(), warnings=(), products=(), audit=())
    assert "Nothing is on main yet" in Page(render(nothing)).text


def test_names_that_are_markup_are_shown_and_not_obeyed():
    candidate = replace(
        PRODUCT.candidates[0], findings=(Finding(HOSTILE, HOSTILE, HOSTILE, "warn"),), run_id=HOSTILE
    )
    run = replace(WHOLE.runs[0], dag=HOSTILE, run_id=HOSTILE)
    hostile = replace(
        WHOLE,
        products=(replace(PRODUCT, description=HOSTILE, owner=HOSTILE, candidates=(candidate,)),),
        runs=(run, *WHOLE.runs),
        commits=(replace(WHOLE.commits[0], message=HOSTILE, verdict=HOSTILE),),
        tables=(replace(WHOLE.tables[0], table=HOSTILE),),
        warnings=candidate.findings,
        stages=(replace(WHOLE.stages[0], outcome=HOSTILE),),
    )
    text = render(hostile)
    page = Page(text)
    assert not {"script", "img"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert page.text.count("<script>alert(1)</script>") >= 5


@pytest.mark.parametrize(
    ("value", "end"),
    [(0.43, 0.5), (0.5, 0.5), (0.146, 0.15), (0.36, 0.4), (1.0, 1.0), (0.21, 0.25), (0.0, 1.0)],
)
def test_axes_end_at_a_round_number_and_have_few_ticks(value, end):
    assert nice(value) == pytest.approx(end)
    found = ticks(end)
    assert found[0] == 0
    assert found[-1] == pytest.approx(end)
    assert 2 <= len(found) <= 7

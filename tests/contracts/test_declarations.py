"""The declarations of this repository agree with each other, and each kind of mistake in a copy is found."""

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from include.cli.consistency import check, inventory
from include.cli.flows import flows_of
from include.cli.inventory import ROOT, Declarations, Model, SuiteFile, read_declarations
from include.products import PRODUCTS
from include.sources import SOURCES
from include.spec.training import GradientBoosting

COUPON = "include/products/coupon_redemption.py"
RETAIL = "include/sources/retail.py"


@pytest.fixture(scope="module")
def declared() -> Declarations:
    return read_declarations()


def product(declared: Declarations, **fields: Any) -> Declarations:
    """A copy whose first product says something else, unchecked."""
    first, *others = declared.products
    return replace(declared, products=(first.model_copy(update=fields), *others))


def gate(declared: Declarations, **fields: Any) -> Declarations:
    return product(declared, gate=declared.products[0].gate.model_copy(update=fields))


def label(declared: Declarations, **fields: Any) -> Declarations:
    return product(declared, label=declared.products[0].label.model_copy(update=fields))


def suite(declared: Declarations, path: str, changed: SuiteFile | None) -> Declarations:
    suites = {name: each for name, each in declared.suites.items() if name != path}
    return replace(declared, suites=suites if changed is None else {**suites, path: changed})


def rules(declared: Declarations, path: str, type_: str, **kwargs: Any) -> Declarations:
    """A copy with other arguments in the first rule of that type."""
    old = declared.suites[path]
    number = next(i for i, rule in enumerate(old.rules) if rule["type"] == type_)
    changed = {**old.rules[number], "kwargs": kwargs}
    return suite(declared, path, replace(old, rules=(*old.rules[:number], changed, *old.rules[number + 1 :])))


def table(declared: Declarations, name: str, **fields: Any) -> Declarations:
    tables = tuple(
        (file, each.model_copy(update=fields) if each.name == name else each)
        for file, each in declared.tables
    )
    return replace(declared, tables=tables)


def typed(declared: Declarations, name: str, column: str, type_: str) -> Declarations:
    columns = tuple(
        each.model_copy(update={"type": type_}) if each.name == column else each
        for each in declared.table[name].columns
    )
    return table(declared, name, columns=columns)


def without_column(declared: Declarations, name: str, column: str) -> Declarations:
    columns = tuple(each for each in declared.table[name].columns if each.name != column)
    return table(declared, name, columns=columns)


def found(declared: Declarations) -> set[tuple[str, str]]:
    return {(finding.file, finding.field) for finding in check(declared).findings}


def test_there_is_something_to_check(declared):
    there = inventory(declared)
    assert {one.name for one in declared.products} >= {"coupon_redemption", "household_lapse"}
    assert {path for path in declared.suites if path.startswith("raw/retail/")} == {
        f"raw/retail/{one.name}" for one in SOURCES[0].tables
    }
    assert there["raw tables"] >= 8
    assert there["feature tables"] >= 5
    assert there["label tables"] >= 2
    assert there["dbt models"] == len(list((ROOT / "dbt_project" / "models").rglob("*.sql"))) >= 19
    assert there["suites"] == len(list((ROOT / "expectations").rglob("*.json"))) >= 17
    assert sum(len(model.calls) for model in declared.written) >= 20
    assert check(declared).count > 500


def test_the_declarations_agree(declared):
    assert check(declared).findings == []


FEATURES = "dbt_project/models/features"
STAGING = "dbt_project/models/staging/retail/_retail__sources.yml"
TERMS, TERMS_SUITE = "feat_campaign__terms", "features/feat_campaign__terms"
LIST = "expect_table_columns_to_match_ordered_list"
PAIR = "expect_compound_columns_to_be_unique"
ABSENT = "feat_household__absent"

MISTAKES = {
    "no source": (lambda d: product(d, source="wholesale"), COUPON, "source"),
    "no feature table": (lambda d: product(d, features=(ABSENT,)), COUPON, "features"),
    "labels as features": (lambda d: product(d, features=("labels__household_lapse",)), COUPON, "features"),
    "another entity": (lambda d: product(d, entity=("household_id",)), COUPON, "features"),
    "not the whole entity": (lambda d: product(d, entity=("household_id",)), COUPON, "label.table"),
    "one column in two tables": (
        lambda d: table(
            d, TERMS, columns=(*d.table[TERMS].columns, d.table["feat_household__baskets"].columns[3])
        ),
        COUPON,
        "features",
    ),
    "no label table": (lambda d: label(d, table="labels__absent"), COUPON, "label.table"),
    "features as label": (lambda d: label(d, table=TERMS), COUPON, "label.table"),
    "another label": (lambda d: label(d, column="lapsed"), COUPON, "label.column"),
    "no maturity": (
        lambda d: without_column(d, "labels__coupon_redemption", "matured_timestamp"),
        COUPON,
        "label.table",
    ),
    "no time to mature": (lambda d: label(d, matures_after=timedelta(0)), COUPON, "label.matures_after"),
    "no test period": (
        lambda d: product(d, split=d.products[0].split.model_copy(update={"test": timedelta(0)})),
        COUPON,
        "split.test",
    ),
    "unknown column excluded": (lambda d: product(d, exclude=("shoe_size",)), COUPON, "exclude"),
    "unknown slice": (lambda d: gate(d, slices=("shoe_size",)), COUPON, "gate.slices"),
    "slice of many values": (lambda d: gate(d, slices=("spend_91d",)), COUPON, "gate.slices"),
    "excluded slice": (lambda d: product(d, exclude=("campaign_type",)), COUPON, "gate.slices"),
    "words as label": (
        lambda d: typed(d, "labels__coupon_redemption", "redeemed", "varchar"),
        COUPON,
        "train.objective",
    ),
    "a fraction as class": (
        lambda d: typed(d, "labels__coupon_redemption", "redeemed", "double"),
        COUPON,
        "train.objective",
    ),
    "product twice": (lambda d: replace(d, products=(*d.products, d.products[0])), COUPON, "name"),
    "source twice": (lambda d: replace(d, sources=d.sources * 2), RETAIL, "name"),
    "table twice": (
        lambda d: replace(d, tables=(*d.tables, ("other.yml", d.tables[0][1]))),
        "other.yml",
        "models.name",
    ),
    "product without a file": (
        lambda d: product(d, name="churn"),
        "include/products/churn.py",
        "name",
    ),
    "product that nobody lists": (
        lambda d: replace(d, products=d.products[1:]),
        "include/products/__init__.py",
        "PRODUCTS",
    ),
    "source that nobody lists": (
        lambda d: replace(d, modules=(*d.modules, "include/sources/wholesale.py")),
        "include/sources/__init__.py",
        "SOURCES",
    ),
    "no suite": (lambda d: suite(d, TERMS_SUITE, None), f"expectations/{TERMS_SUITE}.json", "expectations"),
    "no suite of a raw table": (
        lambda d: suite(d, "raw/retail/coupons", None),
        "expectations/raw/retail/coupons.json",
        "expectations",
    ),
    "no suite of predictions": (
        lambda d: suite(d, "predictions/household_lapse", None),
        "expectations/predictions/household_lapse.json",
        "expectations",
    ),
    "orphan suite": (
        lambda d: suite(d, "features/absent", d.suites[TERMS_SUITE]),
        "expectations/features/absent.json",
        "name",
    ),
    "suite of another name": (
        lambda d: suite(d, TERMS_SUITE, replace(d.suites[TERMS_SUITE], name="features/other")),
        f"expectations/{TERMS_SUITE}.json",
        "name",
    ),
    "suite that is none": (
        lambda d: suite(d, TERMS_SUITE, SuiteFile(problem="is not JSON")),
        f"expectations/{TERMS_SUITE}.json",
        "expectations",
    ),
    "other columns": (
        lambda d: rules(d, "raw/retail/coupons", LIST, column_list=["coupon_upc", "coupon_line_id"]),
        "expectations/raw/retail/coupons.json",
        "expectations[0].kwargs.column_list",
    ),
    "other columns of features": (
        lambda d: without_column(d, TERMS, "coupon_count"),
        f"expectations/{TERMS_SUITE}.json",
        "expectations[0].kwargs.column_list",
    ),
    "other columns of predictions": (
        lambda d: rules(d, "predictions/household_lapse", LIST, column_list=["household_id", "score"]),
        "expectations/predictions/household_lapse.json",
        "expectations[0].kwargs.column_list",
    ),
    "no list of columns": (
        lambda d: suite(
            d, TERMS_SUITE, replace(d.suites[TERMS_SUITE], rules=d.suites[TERMS_SUITE].rules[1:])
        ),
        f"expectations/{TERMS_SUITE}.json",
        "expectations",
    ),
    "rule over an unknown column": (
        lambda d: rules(d, TERMS_SUITE, PAIR, column_list=["campaign_id", "event_time"]),
        f"expectations/{TERMS_SUITE}.json",
        "expectations[2].kwargs.column_list",
    ),
    "dbt reads an unknown table": (
        lambda d: replace(d, raw=(*d.raw, (STAGING, "retail", "coupones"))),
        STAGING,
        "sources.retail.tables",
    ),
    "dbt reads an unknown source": (
        lambda d: replace(d, raw=(*d.raw, (STAGING, "wholesale", "orders"))),
        STAGING,
        "sources.name",
    ),
    "no staging model": (
        lambda d: replace(d, written=tuple(m for m in d.written if m.name != "stg_retail__coupons")),
        STAGING,
        "sources.retail.tables",
    ),
    "model without YAML": (
        lambda d: replace(d, written=(*d.written, Model("int_x", "int_x.sql"))),
        "int_x.sql",
        "name",
    ),
    "YAML without a model": (
        lambda d: replace(d, described=(*d.described, Model("int_x", "x.yml"))),
        "x.yml",
        "models.name",
    ),
    "SQL reads an unknown model": (
        lambda d: replace(d, written=(*d.written, Model("int_x", "int_x.sql", (("ref", "stg_absent"),)))),
        "int_x.sql",
        "ref()",
    ),
    "SQL reads an unknown source": (
        lambda d: replace(d, written=(*d.written, Model("x", "x.sql", (("source", "retail", "absent"),)))),
        "x.sql",
        "source()",
    ),
    "no such setting": (
        lambda d: replace(d, settings=d.settings - {"retail_dsn"}),
        RETAIL,
        "tables.transactions.read.dsn",
    ),
    "nothing at all": (lambda d: replace(d, products=()), ".", "products"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_planted_mistake_is_found_with_its_file_and_field(declared, name):
    plant, file, field = MISTAKES[name]
    planted = plant(declared)
    assert (file, field) not in found(declared)
    findings = [one for one in check(planted).findings if (one.file, one.field) == (file, field)]
    assert findings, found(planted)
    assert all(one.problem and one.accepted for one in findings)


def test_a_regression_takes_a_number_as_its_label(declared):
    numbers = typed(declared, "labels__coupon_redemption", "redeemed", "double")
    fitted = product(numbers, train=GradientBoosting(objective="regression"))
    assert (COUPON, "train.objective") in found(numbers)
    assert (COUPON, "train.objective") not in found(fitted)


def test_mistakes_in_files_are_read_as_they_stand(tmp_path: Path):
    for folder in ("dbt_project", "expectations"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("target", "logs"))
    for room in ("products", "sources"):
        shutil.copytree(ROOT / "include" / room, tmp_path / "include" / room)
    assert check(read_declarations(tmp_path)).findings == []
    (tmp_path / "expectations" / f"{TERMS_SUITE}.json").write_text("{")
    (tmp_path / "dbt_project/models/staging/retail/stg_retail__coupons.sql").write_text(
        'select * from {{ source("retail", "coupones") }} -- and {{ ref("a_comment") }}'
    )
    assert found(read_declarations(tmp_path)) == {
        (f"expectations/{TERMS_SUITE}.json", "expectations"),
        ("dbt_project/models/staging/retail/stg_retail__coupons.sql", "source()"),
    }


def test_the_files_of_the_flows_are_told_apart(declared):
    paths = {one.name: one.prefix for _, one in declared.tables}
    flows = [flow for one in PRODUCTS for flow in flows_of(one, SOURCES[0], paths)]
    assert len({flow.dag for flow in flows}) == 4 + 3 * len(PRODUCTS)

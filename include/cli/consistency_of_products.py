"""Whether each product can be built from what sources and feature tables there are."""

from datetime import timedelta

from include.cli.consistency import Checks, distinct, listed, product_file
from include.cli.inventory import Declarations
from include.spec.feature import MATURED_TIMESTAMP, FeatureTable
from include.spec.product import ModelProduct

_INTEGERS = ("tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger")
LABEL_TYPES = {
    "binary": ("boolean", *_INTEGERS),
    "regression": ("double", "float", "real", "decimal", "numeric", *_INTEGERS),
}
"""Types of a label column, by training objective."""

# A slice is one value: a column of many, such as a sum of money, has too few rows in each to judge.
SLICE_TYPES = ("varchar", "text", "string", "enum", "boolean", "tinyint", "utinyint")


def check_products(checks: Checks, declared: Declarations) -> None:
    """Checks every product against sources and feature tables."""
    named = [(product_file(product.name), product.name) for product in declared.products]
    distinct(checks, named, "name", "product")
    for product in declared.products:
        file = product_file(product.name)
        checks.known(product.source, (s.name for s in declared.sources), file, "source", "source")
        _check_features(checks, declared, product)
        _check_columns(checks, declared, product)
        _check_label(checks, declared, product)
        periods = {
            "split.validation": product.split.validation,
            "split.test": product.split.test,
            "label.matures_after": product.label.matures_after,
            "retrain.every": product.retrain.every or timedelta(days=1),
        }
        for field, period in periods.items():
            checks.hold(period > timedelta(0), file, field, f"{period} is no period", "more than 0 days")


def type_name(declared: str) -> str:
    """A type without its arguments, as the lists of this module spell it."""
    return declared.lower().split("(")[0].strip()


def _check_features(checks: Checks, declared: Declarations, product: ModelProduct) -> None:
    file, tables = product_file(product.name), declared.table
    fit = [t.name for t in tables.values() if t.label is None and set(t.entity) <= set(product.entity)]
    for name in product.features:
        accepted = f"feature tables about {', '.join(product.entity)} or some of them: {listed(fit)}"
        if not checks.hold(name in tables, file, "features", f"there is no feature table {name!r}", accepted):
            continue
        table = tables[name]
        checks.hold(table.label is None, file, "features", f"{name!r} holds labels", accepted)
        foreign = [key for key in table.entity if key not in product.entity]
        problem = f"{name!r} is about {', '.join(foreign)}, too"
        checks.hold(not foreign, file, "features", problem, accepted)


def _check_columns(checks: Checks, declared: Declarations, product: ModelProduct) -> None:
    file = product_file(product.name)
    tables = [declared.table[name] for name in product.features if name in declared.table]
    types = {column.name: type_name(column.type) for table in tables for column in table.features}
    names = [column.name for table in tables for column in table.features]
    for name in types:
        problem = f"column {name!r} is in several of its tables"
        checks.hold(names.count(name) == 1, file, "features", problem, "column names that differ")
    for name in product.exclude:
        checks.known(name, types, file, "exclude", "feature column")
    sliceable = [name for name, kind in types.items() if kind in SLICE_TYPES and name not in product.exclude]
    accepted = f"columns of few values that the model sees: {listed(sliceable)}"
    for name in product.gate.slices:
        if checks.hold(name in types, file, "gate.slices", f"there is no feature column {name!r}", accepted):
            problem = f"{name!r} is {'excluded' if name in product.exclude else f'of type {types[name]}'}"
            checks.hold(name in sliceable, file, "gate.slices", problem, accepted)


def _check_label(checks: Checks, declared: Declarations, product: ModelProduct) -> None:
    file, wanted = product_file(product.name), product.label
    labels = [table.name for table in declared.table.values() if table.label is not None]
    table = declared.table.get(wanted.table)
    problem = f"there is no table {wanted.table!r}" if table is None else f"{wanted.table!r} holds no labels"
    is_label = table is not None and table.label is not None
    if not checks.hold(is_label, file, "label.table", problem, listed(labels)) or table is None:
        return
    problem = f"{wanted.column!r} is not the label of {table.name}"
    checks.hold(wanted.column == table.label, file, "label.column", problem, str(table.label))
    problem = (
        f"{table.name} is about {', '.join(table.entity)}; the product about {', '.join(product.entity)}"
    )
    same = sorted(table.entity) == sorted(product.entity)
    checks.hold(
        same, file, "label.table", problem, "a label table whose entity is the product's whole entity"
    )
    _check_type(checks, product, table)


def _check_type(checks: Checks, product: ModelProduct, table: FeatureTable) -> None:
    file = product_file(product.name)
    types = {column.name: type_name(column.type) for column in table.columns}
    checks.known(MATURED_TIMESTAMP, types, file, "label.table", f"column of {table.name}")
    kind = types.get(product.label.column)
    if kind is None:
        return
    accepted = LABEL_TYPES[product.train.objective]
    problem = f"{product.train.objective!r} does not fit {product.label.column}, which is {kind}"
    checks.hold(kind in accepted, file, "train.objective", problem, f"labels of type {', '.join(accepted)}")

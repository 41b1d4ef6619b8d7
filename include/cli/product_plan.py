"""What a product would do, from its declarations alone: a document that a person or a program reads."""

from datetime import timedelta
from typing import Any

from include.cli.flows import flows_of
from include.cli.inventory import ROOT, Declarations
from include.spec.contract import Rule
from include.spec.errors import HeadraceError
from include.spec.feature import FeatureTable
from include.spec.product import ModelProduct
from include.spec.source import Source, Table


def plan_of(product: ModelProduct, declared: Declarations) -> dict[str, Any]:
    """Sources, features, label, split, training, gate, DAGs and care of a product.

    Raises:
        HeadraceError: The product names a source or a table that there is none of.
    """
    source = _source(product, declared)
    tables = [_table(product, name, "features", declared) for name in product.features]
    label = _table(product, product.label.table, "label.table", declared)
    paths = {table.name: table.prefix for _, table in declared.tables}
    return {
        "product": {
            "name": product.name,
            "description": product.description,
            "owner": product.owner,
            "tier": product.tier,
            "entity": list(product.entity),
            "source": product.source,
        },
        "source_tables": [_raw_row(source, table.name, declared) for table in source.tables],
        "feature_tables": [_feature_row(product, table, declared) for table in tables],
        "label": {
            "table": label.name,
            "column": product.label.column,
            "type": {column.name: column.type for column in label.columns}.get(product.label.column),
            "matures_after": _days(product.label.matures_after),
            "rules": _rules(declared, label.prefix),
        },
        "split": {
            "training": "all that had matured when the validation period began",
            "validation": _days(product.split.validation),
            "test": f"{_days(product.split.test)}, the newest; no fitting sees it",
        },
        "training": product.train.model_dump(mode="json"),
        "gate": _gate(product),
        "dags": [
            {
                "dag": flow.dag,
                "file": flow.file if (ROOT / flow.file).is_file() else f"{flow.file} (not there yet)",
                "started_by": list(flow.started_by),
                "steps": flow.steps,
                "emits": list(flow.emits),
                "writes": list(flow.writes),
            }
            for flow in flows_of(product, source, paths)
        ],
        "predictions": _predictions(product, declared),
        "care": {
            "drifted_from_psi": product.drift.psi,
            "breach_from_share_of_columns": product.drift.columns_share,
            "breach_from_loss_of_performance": product.drift.performance_drop,
            "retrain_every": _days(product.retrain.every) if product.retrain.every else "never by age",
            "retrain_on_breach": product.retrain.on_drift,
        },
    }


def _source(product: ModelProduct, declared: Declarations) -> Source:
    for source in declared.sources:
        if source.name == product.source:
            return source
    there = ", ".join(source.name for source in declared.sources)
    raise HeadraceError(
        f"Product {product.name!r}: field 'source': there is no source {product.source!r}.",
        remedy=f"There are: {there}.",
    )


def _table(product: ModelProduct, name: str, field: str, declared: Declarations) -> FeatureTable:
    if name in declared.table:
        return declared.table[name]
    raise HeadraceError(
        f"Product {product.name!r}: field {field!r}: there is no table {name!r}.",
        remedy=f"There are: {', '.join(declared.table)}.",
    )


def _raw_row(source: Source, name: str, declared: Declarations) -> dict[str, Any]:
    table = source.table(name)
    return {
        "path": source.prefix(name),
        "read_from": table.read.origin,
        "key": list(table.key),
        "columns": len(table.columns),
        "rules": _rules(declared, source.prefix(name)),
        "rules_of_rows": [_rule(source, table, rule) for rule in table.rules],
        "read_by_dbt": "yes" if (source.name, name) in {row[1:] for row in declared.raw} else "no",
    }


def _rule(source: Source, table: Table, rule: Rule) -> str:
    """A rule for rows, and where it is not asked."""
    captured = source.capture is not None and table.name in source.capture.tables
    skipped = captured and rule not in table.rules_of_changes
    return f"{rule.name}: {rule.accepted}{' (of batches, not of captured changes)' if skipped else ''}"


def _feature_row(product: ModelProduct, table: FeatureTable, declared: Declarations) -> dict[str, Any]:
    return {
        "path": table.prefix,
        "about": list(table.entity),
        "columns": {c.name: c.type for c in table.features if c.name not in product.exclude},
        "excluded": [c.name for c in table.features if c.name in product.exclude],
        "max_age": f"{table.max_age_days} days" if table.max_age_days else "no limit",
        "rules": _rules(declared, table.prefix),
    }


def _gate(product: ModelProduct) -> dict[str, Any]:
    gate, test = product.gate, product.gate.better_than_champion
    return {
        "primary": gate.primary,
        "better_than_champion": f"paired bootstrap over {product.entity[0]}, {test.resamples} resamples, "
        f"one-sided alpha {test.alpha:g}, margin {test.margin:g}",
        "at_least": "beyond no skill" if gate.at_least is None else gate.at_least,
        "slices": list(gate.slices),
        "slice_min_rows": gate.slice_min_rows,
        "calibration_error_max": gate.calibration_error_max,
    }


def _predictions(product: ModelProduct, declared: Declarations) -> dict[str, Any]:
    from include.cli.consistency_of_tables import predicted_columns

    return {
        "path": f"predictions/{product.name}",
        "columns": list(predicted_columns(product)),
        "rules": _rules(declared, f"predictions/{product.name}"),
        "batch": product.serve.batch or "none",
        "http": product.serve.http,
    }


def _rules(declared: Declarations, path: str) -> dict[str, int]:
    suite = declared.suites.get(path)
    counts: dict[str, int] = {}
    for rule in suite.rules if suite else ():
        counts[rule["severity"]] = counts.get(rule["severity"], 0) + 1
    return counts


def _days(length: timedelta) -> str:
    days = length / timedelta(days=1)
    return f"{days:g} {'day' if days == 1 else 'days'}"

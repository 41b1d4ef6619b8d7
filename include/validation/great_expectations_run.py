"""One run of a Great Expectations suite over a DuckDB view: cheap first, detail only for what failed."""

import copy
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from include.validation import duckdb_dialect
from include.validation.suite import Suite, SuiteError

# Of the values that broke a rule. Great Expectations' COMPLETE format would read every one of them.
SAMPLE = 5


class SuiteRunner:
    """Runs suites over the views of one DuckDB connection; importing the library costs seconds, so once.

    Args:
        connection: A DuckDB connection; a table's view has the name of the table.
    """

    def __init__(self, connection: Any) -> None:
        # Read at import: without it the library reports its use.
        os.environ["GX_ANALYTICS_ENABLED"] = "false"
        logging.getLogger("great_expectations").setLevel(logging.WARNING)
        import great_expectations
        import sqlalchemy
        from great_expectations.data_context.types.base import ProgressBarsConfig

        # It sets a level of its own for this one, when it is imported.
        logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)

        duckdb_dialect.register()
        self.version = str(great_expectations.__version__)
        self._context = great_expectations.get_context(mode="ephemeral")
        self._context.variables.progress_bars = ProgressBarsConfig(globally=False)
        engine = sqlalchemy.create_engine(duckdb_dialect.URL, creator=connection.cursor)
        self._engine = _execution_engine(engine)

    def run(self, suite: Suite, view: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The result of each rule, in the library's own form and in the order of the suite.

        Args:
            suite: The rules.
            view: The view to judge.
            parameters: Values of the `$PARAMETER`s that rules may name.

        Raises:
            SuiteError: A rule is not one that the library knows, or its arguments are not.
        """
        results = self._validate(suite, suite.rules, view, parameters, "BOOLEAN_ONLY")
        failed = [number for number, result in enumerate(results) if not result["success"]]
        if failed:
            detail = {"result_format": "SUMMARY", "partial_unexpected_count": SAMPLE}
            again = self._validate(
                suite, [suite.rules[number] for number in failed], view, parameters, detail
            )
            for number, result in zip(failed, again, strict=True):
                results[number] = result
        return results

    def _validate(
        self,
        suite: Suite,
        rules: Sequence[Mapping[str, Any]],
        view: str,
        parameters: Mapping[str, Any],
        result_format: Any,
    ) -> list[dict[str, Any]]:
        from great_expectations.core.batch import Batch
        from great_expectations.execution_engine.sqlalchemy_batch_data import SqlAlchemyBatchData
        from great_expectations.validator.validator import Validator

        data: Any = SqlAlchemyBatchData(
            execution_engine=self._engine, table_name=view, create_temp_table=False
        )
        validator = Validator(self._engine, batches=[Batch(data=data)], data_context=self._context)
        configured = [_configured(suite, number, rule) for number, rule in enumerate(rules)]
        substituted = validator.process_expectations_for_validation(configured, dict(parameters))
        # Not `Validator.validate`: it keeps one rule of each type and column and drops the others silently.
        results = validator.graph_validate(substituted, {"result_format": result_format})
        ordered = sorted(results, key=lambda result: int(str(result.expectation_config.id)))  # type: ignore[union-attr]
        assert len(ordered) == len(rules), f"{suite.table}: {len(rules)} rules gave {len(ordered)} results"
        return [dict(result.to_json_dict()) for result in ordered]


def _configured(suite: Suite, number: int, rule: Mapping[str, Any]) -> Any:
    """One rule in the library's form; its id ties the result to it, since results come in another order."""
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    try:
        configured = ExpectationConfiguration(
            type=rule["type"],
            kwargs=copy.deepcopy(rule["kwargs"]),
            meta=rule.get("meta"),
            notes=rule.get("notes"),
            description=rule.get("description"),
            severity=rule["severity"],
            id=str(number),
        )
        return configured.to_domain_obj().configuration
    except Exception as error:  # whatever its registry, pydantic 1 or marshmallow raise
        said = "; ".join(line.strip() for line in str(error).strip().splitlines())
        where = f"expectations/{suite.table}.json: {rule['type']}"
        raise SuiteError(f"{where}: is not a rule that can be run: {said}.", table=suite.table) from error


def _execution_engine(engine: Any) -> Any:
    from great_expectations.execution_engine.sqlalchemy_execution_engine import SqlAlchemyExecutionEngine

    class DuckDBExecutionEngine(SqlAlchemyExecutionEngine):
        """Keeps its connection: the library reads results after it gave the connection back."""

        @contextmanager
        def get_connection(self) -> Iterator[Any]:
            if self._connection is None:
                self._connection = self.engine.connect()
            yield self._connection

    return DuckDBExecutionEngine(engine=engine, create_temp_table=False)

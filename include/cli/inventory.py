"""Everything that is declared, read from its files: products, sources, the dbt project, the suites.

Nothing is judged here; `consistency` does that, over what this module has read or a test has written.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.spec.feature import FeatureTable
from include.spec.product import ModelProduct
from include.spec.source import Source

ROOT = Path(__file__).parents[2]
_CALL = re.compile(r"\{\{-?\s*(source|ref)\(([^)]*)\)")
_WORD = re.compile(r"""["']([^"']*)["']""")
_COMMENT = re.compile(r"\{#.*?#\}|--[^\n]*", re.DOTALL)


@dataclass(frozen=True)
class Model:
    """A dbt model.

    Args:
        name: Its name.
        file: Where it is: its SQL, or the YAML that describes it.
        calls: What its SQL reads: (`source`, source, table) and (`ref`, model).
    """

    name: str
    file: str
    calls: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class SuiteFile:
    """A file of expectations.

    Args:
        name: The table that the file itself names.
        rules: Its rules.
        problem: Why it is no suite; empty where it is one.
    """

    name: str = ""
    rules: tuple[Mapping[str, Any], ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Declarations:
    """All that is declared; files are told relative to the root of the repository.

    Args:
        products: The model products.
        sources: The source systems.
        modules: The Python files of products and sources.
        tables: Feature tables and labels, each with the YAML that declares it.
        raw: Tables that the dbt project reads, as (file, source, table).
        described: dbt models by their YAML.
        written: dbt models by their SQL.
        suites: Suites by the lake path that their file stands for.
        settings: Names of all settings.
    """

    products: tuple[ModelProduct, ...]
    sources: tuple[Source, ...]
    modules: tuple[str, ...]
    tables: tuple[tuple[str, FeatureTable], ...]
    raw: tuple[tuple[str, str, str], ...]
    described: tuple[Model, ...]
    written: tuple[Model, ...]
    suites: Mapping[str, SuiteFile]
    settings: frozenset[str]

    @property
    def table(self) -> dict[str, FeatureTable]:
        """The feature tables by name."""
        return {table.name: table for _, table in self.tables}


def read_declarations(root: Path = ROOT) -> Declarations:
    """Reads all declarations; no network and no server is touched.

    Args:
        root: Of the repository, or of a copy of its `dbt_project/` and `expectations/`.

    Raises:
        HeadraceError: A file cannot be read as what it must be; the message names it, and the field.
    """
    from include.features.project import declared_tables
    from include.products import PRODUCTS
    from include.settings import Settings
    from include.sources import SOURCES

    project = root / "dbt_project"
    documents = {
        str(path.relative_to(root)): _yaml(path) for path in sorted((project / "models").rglob("*.yml"))
    }
    described = tuple(
        Model(str(model.get("name")), file)
        for file, document in documents.items()
        for model in document.get("models") or []
    )
    tables = declared_tables(project)
    # `declared_tables` sorts by name and reads the files in this order: the two lists run in step.
    owners = sorted((m for m in described if "/models/features/" in m.file), key=lambda model: model.name)
    return Declarations(
        products=PRODUCTS,
        sources=SOURCES,
        modules=_modules(root),
        tables=tuple((model.file, table) for model, table in zip(owners, tables, strict=True)),
        raw=tuple(
            (file, str(source["name"]), str(table["name"]))
            for file, document in documents.items()
            for source in document.get("sources") or []
            for table in source.get("tables") or []
        ),
        described=described,
        written=tuple(_model(path, root) for path in sorted((project / "models").rglob("*.sql"))),
        suites=_suites(root / "expectations"),
        settings=frozenset(Settings.model_fields),
    )


def _modules(root: Path) -> tuple[str, ...]:
    return tuple(
        str(path.relative_to(root))
        for room in ("products", "sources")
        for path in sorted((root / "include" / room).glob("*.py"))
        if path.name != "__init__.py"
    )


def _yaml(path: Path) -> dict[str, Any]:
    import yaml

    from include.features.errors import FeatureProjectError

    try:
        document = yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except yaml.YAMLError as error:
        raise FeatureProjectError(f"{path}: is no YAML: {error}") from error
    return document if isinstance(document, dict) else {}


def _model(path: Path, root: Path) -> Model:
    text = _COMMENT.sub("", path.read_text())
    calls = tuple((kind, *_WORD.findall(arguments)) for kind, arguments in _CALL.findall(text))
    return Model(path.stem, str(path.relative_to(root)), tuple(dict.fromkeys(calls)))


def _suites(folder: Path) -> dict[str, SuiteFile]:
    from include.validation.suite import SuiteError, load_suite

    found = {}
    for path in sorted(folder.rglob("*.json")):
        table = path.relative_to(folder).with_suffix("").as_posix()
        try:
            rules = load_suite(table, folder).rules
        except SuiteError as error:
            found[table] = SuiteFile(problem=error.message)
        else:
            found[table] = SuiteFile(str(json.loads(path.read_text()).get("name")), rules)
    return found

"""The dbt project as a declaration: which feature tables it makes, and the hash of all that decides them.

Its YAML owns the columns; here it is only read, without dbt, which takes seconds to import.
"""

import hashlib
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from include.features.errors import FeatureProjectError
from include.spec.feature import FeatureColumn, FeatureTable

PROJECT = Path(__file__).parents[2] / "dbt_project"
_SUFFIXES = {".sql", ".yml", ".csv", ".md"}
# The engine decides the bytes as the SQL does: another version of it is another manifest.
_ENGINES = ("dbt-core", "dbt-duckdb", "duckdb")


@lru_cache(maxsize=4)
def declared_tables(project: Path = PROJECT) -> tuple[FeatureTable, ...]:
    """The feature tables, labels included, that the project's YAML declares, by name.

    Raises:
        FeatureProjectError: A file below `models/features` is no YAML, or a model lacks what is needed.
        DeclarationError: A model's columns do not make a feature table.
    """
    tables = [
        _table(path.relative_to(project.parent), model)
        for path in sorted((project / "models" / "features").rglob("*.yml"))
        for model in _document(path).get("models") or []
    ]
    return tuple(sorted(tables, key=lambda table: table.name))


def declared_table(name: str, project: Path = PROJECT) -> FeatureTable:
    """The declared feature table of that name.

    Raises:
        FeatureProjectError: There is none.
    """
    tables = {table.name: table for table in declared_tables(project)}
    if name not in tables:
        raise FeatureProjectError(
            f"The dbt project makes no feature table {name!r}; it makes {', '.join(tables)}.", table=name
        )
    return tables[name]


def read_tables(source: str, project: Path = PROJECT) -> tuple[str, ...]:
    """The raw tables of a source that the project reads.

    Raises:
        FeatureProjectError: It reads nothing of that source.
    """
    sources = {
        told["name"]: told.get("tables") or []
        for path in sorted((project / "models" / "staging").rglob("*.yml"))
        for told in _document(path).get("sources") or []
    }
    if source not in sources:
        named = ", ".join(sorted(sources))
        raise FeatureProjectError(f"The dbt project reads no source {source!r}; it reads {named}.")
    return tuple(table["name"] for table in sources[source])


def manifest_hash(project: Path = PROJECT) -> str:
    """SHA-256 over everything that decides the features: the project's files and the engines' versions.

    dbt's own `manifest.json` carries times and ids of the run that wrote it, so its bytes name nothing.
    """
    lines = [f"{name} {version(name)}" for name in _ENGINES]
    for path in sorted(project.rglob("*")):
        named = path.relative_to(project)
        if path.suffix in _SUFFIXES and named.parts[0] not in ("target", "logs", "dbt_packages"):
            lines.append(f"{named.as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _document(path: Path) -> dict[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise FeatureProjectError(f"{path}: is no YAML: {error}") from error
    if not isinstance(document, dict):
        raise FeatureProjectError(f"{path}: must be a mapping, as dbt's property files are.")
    return document


def _table(path: Path, model: dict[str, Any]) -> FeatureTable:
    name = str(model.get("name"))
    meta = (model.get("config") or {}).get("meta") or {}
    if not meta.get("entity"):
        raise FeatureProjectError(
            f"{path}: model {name!r}: field 'config.meta.entity': must list the columns that say whom a row "
            "is about.",
            table=name,
        )
    columns = []
    for column in model.get("columns") or []:
        absent = [field for field in ("name", "data_type", "description") if not column.get(field)]
        if absent:
            raise FeatureProjectError(
                f"{path}: model {name!r}: column {column.get('name')!r}: field {absent[0]!r} is missing.",
                table=name,
            )
        columns.append(
            FeatureColumn(name=column["name"], type=column["data_type"], description=column["description"])
        )
    return FeatureTable(
        name=name,
        description=" ".join(str(model.get("description", "")).split()),
        entity=tuple(meta["entity"]),
        columns=tuple(columns),
        label=meta.get("label"),
        max_age_days=meta.get("max_age_days"),
    )

"""Whether the declarations agree with each other: pure functions from what is declared to findings."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from include.cli.inventory import Declarations


@dataclass(frozen=True)
class Finding:
    """Something declared that cannot be so.

    Args:
        file: Where, relative to the root of the repository.
        field: Which field there.
        problem: What is wrong.
        accepted: What would be right.
    """

    file: str
    field: str
    problem: str
    accepted: str


@dataclass
class Checks:
    """What was checked so far, and what was found.

    Args:
        count: How many things were looked at.
        findings: Those that do not hold.
    """

    count: int = 0
    findings: list[Finding] = field(default_factory=list)

    def hold(self, holds: bool, file: str, where: str, problem: str, accepted: str) -> bool:
        """Notes one check, and hands back whether it holds."""
        self.count += 1
        if not holds:
            self.findings.append(Finding(file, where, problem, accepted))
        return holds

    def known(self, name: str, among: Iterable[str], file: str, where: str, what: str) -> bool:
        """Notes whether `name` is one of those there are."""
        there = sorted(set(among))
        return self.hold(name in there, file, where, f"there is no {what} {name!r}", listed(there))


def listed(names: Iterable[str]) -> str:
    """Names as a person reads them."""
    return ", ".join(names) or "nothing: there are none"


def inventory(declared: Declarations) -> dict[str, int]:
    """How much of each kind there is; told first, since no finding in nothing says nothing."""
    return {
        "products": len(declared.products),
        "sources": len(declared.sources),
        "raw tables": sum(len(source.tables) for source in declared.sources),
        "raw tables read by dbt": len(declared.raw),
        "dbt models": len(declared.written),
        "feature tables": sum(table.label is None for _, table in declared.tables),
        "label tables": sum(table.label is not None for _, table in declared.tables),
        "columns": sum(len(t.columns) for s in declared.sources for t in s.tables)
        + sum(len(table.columns) for _, table in declared.tables),
        "suites": len(declared.suites),
        "rules": sum(len(suite.rules) for suite in declared.suites.values()),
    }


def check(declared: Declarations) -> Checks:
    """Checks all declarations against each other."""
    from include.cli.consistency_of_products import check_products
    from include.cli.consistency_of_tables import check_project, check_sources, check_suites

    checks = Checks()
    for name, count in inventory(declared).items():
        checks.hold(count > 0, ".", name, "there are none", "at least one")
    _check_modules(checks, declared)
    check_products(checks, declared)
    check_sources(checks, declared)
    check_project(checks, declared)
    check_suites(checks, declared)
    return checks


def product_file(product: str) -> str:
    """Where a product of that name is declared."""
    return f"include/products/{product}.py"


def source_file(source: str) -> str:
    """Where a source of that name is declared."""
    return f"include/sources/{source}.py"


def distinct(checks: Checks, named: Iterable[tuple[str, str]], where: str, what: str) -> None:
    """Notes each (file, name) whose name came before."""
    before: dict[str, str] = {}
    for file, name in named:
        problem = f"{name!r} is a {what} already, in {before.get(name)}"
        checks.hold(name not in before, file, where, problem, f"a name that is not among {listed(before)}")
        before.setdefault(name, file)


def _check_modules(checks: Checks, declared: Declarations) -> None:
    rooms = {
        "products": {product_file(product.name) for product in declared.products},
        "sources": {source_file(source.name) for source in declared.sources},
    }
    for room, files in rooms.items():
        there = {module for module in declared.modules if module.startswith(f"include/{room}/")}
        for file in sorted(files | there):
            named = f"include/{room}/__init__.py"
            checks.hold(
                file in there, file, "name", "the file of that name is missing", listed(sorted(there))
            )
            checks.hold(file in files, named, room.upper(), f"{file} is not in it", listed(sorted(files)))

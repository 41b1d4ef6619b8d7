"""The auditor shares no code with what it audits."""

import ast
from pathlib import Path

ROOM = Path(__file__).parents[3] / "include" / "audit"
ADMITTED = ("include.audit", "include.settings", "include.spec.errors")


def test_the_auditor_imports_nothing_of_the_pipeline():
    modules = sorted(ROOM.glob("*.py"))
    assert len(modules) > 10
    imported = {
        f"{node.module}" if node.module != "include.audit" else "include.audit"
        for path in modules
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("include")
    }
    assert imported
    assert [name for name in sorted(imported) if not name.startswith(ADMITTED)] == []

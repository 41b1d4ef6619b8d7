"""The rules of the house that a person would have to remember: names, sizes, traps, loose ends.

Each rule is a function from a file to its breaches, so that it is shown to fail on a bad sample too.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("include", "dags", "plugins", "bench", "tests", "docker")
JUNK_DRAWERS = {"utils", "util", "common", "helpers", "helper", "lib", "libs", "misc", "shared", "base"}
MODULE_LINES, FUNCTION_LINES, DAG_LINES, DECLARATION_LINES = 400, 60, 60, 40

MODULES = sorted(
    [path for room in ROOMS for path in (ROOT / room).rglob("*.py") if "__pycache__" not in path.parts]
    + [ROOT / "bootstrap.py"]
)
TEXT_ENDINGS = {
    ".py",
    ".md",
    ".toml",
    ".yaml",
    ".yml",
    ".json",
    ".sql",
    ".in",
    ".cfg",
    ".example",
    ".svg",
    ".sh",
    "",
}
TEXTS = sorted(
    path
    for folder in (*ROOMS, "docs", "dbt_project", "expectations", ".ci")
    for path in (ROOT / folder).rglob("*")
    if path.is_file()
    and path.suffix in TEXT_ENDINGS
    and not {"__pycache__", "target", "logs"} & set(path.parts)
) + sorted(
    path for path in ROOT.iterdir() if path.is_file() and path.suffix in TEXT_ENDINGS and path.name != ".env"
)


RUNS_WHAT_IT_READS = {"pickle.load", "pickle.loads", "yaml.load"}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def junk_names(path: Path) -> list[str]:
    """A folder or module whose name says nothing takes in everything."""
    return [part for part in [*path.parts[:-1], path.stem] if part.lower() in JUNK_DRAWERS]


def too_long(path: Path, text: str) -> list[str]:
    limit = MODULE_LINES
    if path.parts[0] == "dags":
        limit = DAG_LINES
    elif path.parts[:2] == ("include", "products"):
        limit = DECLARATION_LINES
    lines = len(text.splitlines())
    return [f"{lines} lines, at most {limit}"] if lines > limit else []


def long_functions(tree: ast.AST) -> list[str]:
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {node.name: (node.end_lineno or node.lineno) - node.lineno + 1 for node in functions}
    return [f"{name}: {lines} lines" for name, lines in lengths.items() if lines > FUNCTION_LINES]


def traps(tree: ast.AST) -> list[str]:
    """Swallowed errors, shells, and formats that run code when they are read."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            idle = all(isinstance(statement, ast.Pass | ast.Continue) for statement in node.body)
            if idle and (node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"}):
                found.append(f"line {node.lineno}: swallows every error")
        if isinstance(node, ast.keyword) and ast.unparse(node) in {"shell=True", "verify=False"}:
            found.append(f"line {node.value.lineno}: {ast.unparse(node)}")
        if isinstance(node, ast.Import) and {"pickle", "dill", "cloudpickle"} & {a.name for a in node.names}:
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
        if isinstance(node, ast.ImportFrom) and node.module in {"pickle", "dill", "cloudpickle"}:
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
        if isinstance(node, ast.Call) and ast.unparse(node.func) in RUNS_WHAT_IT_READS:
            safe = "SafeLoader" in ast.unparse(node)
            found.extend([] if safe else [f"line {node.lineno}: {ast.unparse(node.func)}"])
    return found


# One letter of each stands in brackets, so that this file does not break its own rule.
PLACES = re.compile(
    r"(?<![\w.$}])/(?:wor[k]|roo[t]|User[s]|opt/wheel[s]|opt/pyp[i]|hom[e]/(?!headrace))(?:/|\b)"
)
LATER = re.compile(r"\b(?:TOD[O]|FIXM[E]|XX[X]|HAC[K])\b")


def loose_ends(text: str) -> list[str]:
    """Paths of one machine, and promises to come back."""
    lines = enumerate(text.splitlines(), 1)
    return [
        f"line {n}: {line.strip()[:90]}" for n, line in lines if PLACES.search(line) or LATER.search(line)
    ]


def test_the_rules_see_the_house():
    assert len(MODULES) > 40
    rooms_seen = {path.relative_to(ROOT).parts[0] for path in MODULES}
    assert {"include", "tests", "dags", "bootstrap.py"} <= rooms_seen
    assert {"README.md", "Makefile", "pyproject.toml", "docker-compose.yaml"} <= {
        named(path) for path in TEXTS
    }


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_module_keeps_the_house_rules(path):
    relative, text = path.relative_to(ROOT), path.read_text()
    tree = ast.parse(text)
    found = [*junk_names(relative), *too_long(relative, text), *long_functions(tree), *traps(tree)]
    assert not found, f"{relative}: {found}"


def test_no_folder_is_a_junk_drawer():
    folders = {path.parent.relative_to(ROOT) for path in TEXTS}
    assert len(folders) > 20
    assert not [folder for folder in folders if junk_names(folder)]


@pytest.mark.parametrize("path", TEXTS, ids=named)
def test_text_holds_no_machine_path_and_no_loose_end(path):
    assert not loose_ends(path.read_text()), named(path)


@pytest.mark.parametrize("bad", ["include/utils.py", "include/common/paths.py", "tests/helpers/x.py"])
def test_a_junk_drawer_is_seen(bad):
    assert junk_names(Path(bad))


@pytest.mark.parametrize(
    ("path", "lines"), [("include/x.py", 401), ("dags/x.py", 61), ("include/products/x.py", 41)]
)
def test_a_module_that_is_too_long_is_seen(path, lines):
    assert too_long(Path(path), "x = 1\n" * lines)
    assert not too_long(Path(path), "x = 1\n" * (lines - 1))


def test_a_function_that_is_too_long_is_seen():
    assert long_functions(ast.parse("def f():\n" + "    x = 1\n" * 60)) == ["f: 61 lines"]
    assert not long_functions(ast.parse("async def f():\n" + "    x = 1\n" * 59))


@pytest.mark.parametrize(
    "bad",
    [
        "try:\n    f()\nexcept Exception:\n    pass",
        "for x in y:\n    try:\n        f()\n    except:\n        continue",
        "subprocess.run('ls', shell=True)",
        "requests.get(url, verify=False)",
        "import pickle",
        "from pickle import loads",
        "pickle.load(file)",
        "yaml.load(text)",
        "yaml.load(text, yaml.Loader)",
    ],
)
def test_a_trap_is_seen(bad):
    assert traps(ast.parse(bad))


def test_a_safe_loader_is_let_be():
    assert not traps(ast.parse("yaml.load(text, yaml.SafeLoader)"))


@pytest.mark.parametrize(
    "bad",
    ["# TO~DO: later", "x = 1  # FIX~ME", "cd /wo~rk/main", "'/ro~ot/.cache'", "--find-links /opt/wh~eels"],
)
def test_a_loose_end_is_seen(bad):
    assert loose_ends(bad.replace("~", ""))
    assert not loose_ends(bad)


def test_what_only_looks_like_a_loose_end_is_let_be():
    assert not loose_ends(
        "https://example.com/work/x\nGET /api/v1/root/x\n./work/x\n${HOME}/x\n/opt/headrace"
    )

"""Docs tell the truth: each command that they show exists, each link and picture is there."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from include.cli import app

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def code_of(text: str) -> list[str]:
    """Inline code, and each line of a code block that is not the output of a program."""
    blocks = re.findall(r"^```(?:sh|bash|console)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [
        line.split("  #")[0].strip().removeprefix("$ ") for block in blocks for line in block.splitlines()
    ]
    without_blocks = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return lines + re.findall(r"`([^`\n]+)`", without_blocks)


def commands(text: str, program: str) -> list[list[str]]:
    """The words after `program`, for each of its uses; `a | b | c` are three uses."""
    found: list[list[str]] = []
    for code in code_of(text):
        called = code.removeprefix(".venv/bin/")
        if re.match(rf"{program} [^=]", called):
            alternatives = called.removeprefix(program).split(" | ")
            found.extend(re.sub(r"[\[\]]", " ", alternative).split() for alternative in alternatives)
    return found


def missing_targets(text: str) -> list[str]:
    words = [command[0] for command in commands(text, "make") if command]
    return [word for word in words if re.fullmatch(r"[a-z][a-z-]*", word) and word not in TARGETS]


def missing_commands(text: str, root: Any) -> list[str]:
    """Commands and options that our command line does not know."""
    return [problem for words in commands(text, "headrace") if (problem := _unknown(words, root))]


def _unknown(words: list[str], command: Any) -> str:
    seen = ["headrace"]
    for word in words:
        name = word.split("=")[0]
        if name.startswith("--"):
            known = {
                option
                for parameter in command.params
                for option in (*parameter.opts, *parameter.secondary_opts)
            }
            if name not in known | {"--help"}:
                return f"{shlex.join(seen)} has no option {name}"
        elif hasattr(command, "commands") and re.fullmatch(r"[a-z][a-z-]*", word):
            if word not in command.commands:
                return f"{shlex.join(seen)} has no command {word}"
            command = command.commands[word]
            seen.append(word)
    return ""


def broken_links(text: str, folder: Path) -> list[str]:
    targets = re.findall(r"!?\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)", text) + re.findall(
        r'src="([^"]+)"', text
    )
    local = [t for t in targets if not re.match(r"[a-z]+:|#", t)]
    return [target for target in local if not (folder / target.split("#")[0]).exists()]


def broken_anchors(text: str) -> list[str]:
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return [anchor for anchor in re.findall(r"\]\(#([^)]+)\)", text) if anchor not in anchors]


@pytest.fixture(scope="module")
def command_line() -> Any:
    return typer.main.get_command(app)


def test_the_docs_are_there():
    found = {named(path) for path in DOCS}
    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/README.md"} <= found
    assert len([name for name in found if name.startswith("docs/adr/0")]) >= 5
    assert {"help", "demo", "test", "up", "down", "lint", "types"} <= TARGETS
    assert len(commands((ROOT / "README.md").read_text(), "make")) >= 2


@pytest.mark.parametrize("path", DOCS, ids=named)
def test_commands_and_links_of_a_page_exist(path, command_line):
    text = path.read_text()
    assert not missing_targets(text)
    assert not missing_commands(text, command_line)
    assert not broken_links(text, path.parent)
    assert not broken_anchors(text)


def test_every_page_can_be_reached_from_the_index():
    index = (ROOT / "docs" / "README.md").read_text()
    pages = [path.relative_to(ROOT / "docs") for path in DOCS if path.is_relative_to(ROOT / "docs")]
    assert not [
        str(page) for page in pages if page.name != "README.md" and f"({page.as_posix()})" not in index
    ]


def test_a_target_that_does_not_exist_is_seen():
    assert missing_targets("Call `make nonesuch`.") == ["nonesuch"]
    assert missing_targets("```sh\nmake test\nmake absent  # comment\n```") == ["absent"]
    assert not missing_targets("`make PYTHON=/x/python3.11` and `make demo`")


def test_a_command_that_does_not_exist_is_seen(command_line):
    assert missing_commands("Call `headrace nonesuch`.", command_line)
    assert missing_commands("Call `headrace lakefs --nonesuch=1`.", command_line)
    assert missing_commands("```sh\n.venv/bin/headrace up --nonesuch\n```", command_line)
    assert not missing_commands("Call `headrace --help`.", command_line)


def test_a_broken_link_is_seen(tmp_path):
    (tmp_path / "there.md").touch()
    text = (
        '[a](there.md#x) [b](absent.md) ![c](absent.svg "title") [d](https://x.example) <img src="gone.png">'
    )
    assert broken_links(text, tmp_path) == ["absent.md", "absent.svg", "gone.png"]
    assert broken_anchors("# A heading\n[x](#a-heading) [y](#nowhere)") == ["nowhere"]

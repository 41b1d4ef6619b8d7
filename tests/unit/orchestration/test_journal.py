"""Journals: whole lines, for the owner alone, whoever writes at once."""

import stat
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import pytest

from include.orchestration import journal

NAME = "happened.jsonl"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path))
    return tmp_path


def _append_many(writer: int, count: int) -> None:
    for number in range(count):
        journal.append(NAME, {"writer": writer, "number": number, "filler": "x" * 3000})


def test_what_was_appended_is_read_back_in_order(home):
    entries: list[dict[str, object]] = [{"task": "fit", "seconds": 1.5}, {"task": "naïve\nname"}]
    for entry in entries:
        journal.append(NAME, entry)
    assert list(journal.entries(home, NAME)) == entries
    assert stat.S_IMODE((home / NAME).stat().st_mode) == 0o600


def test_processes_that_append_at_once_never_mix_their_lines(home):
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as workers:
        list(workers.map(partial(_append_many, count=200), range(4)))
    found = [(entry["writer"], entry["number"]) for entry in journal.entries(home, NAME)]
    assert len(found) == 800
    assert set(found) == {(writer, number) for writer in range(4) for number in range(200)}


def test_a_line_that_was_never_finished_is_left_out(home):
    journal.append(NAME, {"whole": True})
    with (home / NAME).open("a") as stream:
        stream.write('{"whole": fal')
    assert list(journal.entries(home, NAME)) == [{"whole": True}]


def test_there_are_no_entries_before_the_first(home):
    assert list(journal.entries(home, NAME)) == []

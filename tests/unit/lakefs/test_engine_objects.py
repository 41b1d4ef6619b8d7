"""Staging, reading and listing objects."""

import time

import pytest

from include.stack.lakefs.model import CommonPrefix, Entry, Gone, Invalid, NotFound, PreconditionFailed
from tests.unit.lakefs.conftest import REPOSITORY, Lake


def listed(lake: Lake, ref: str = "main", **options: object) -> list[str]:
    """All results of a listing, page by page."""
    results: list[str] = []
    after = str(options.pop("after", ""))
    while True:
        page = lake.engine.list_entries(REPOSITORY, ref, after=after, **options)  # type: ignore[arg-type]
        results += [found.path for found in page.results]
        assert page.next_offset == (results[-1] if page.has_more else "")
        if not page.has_more:
            return results
        after = page.next_offset


def test_what_was_put_is_read_as_it_was(lake: Lake) -> None:
    entry = Entry("a/b", "s3://x/y", "full", "etag", 5, 1234, {"k": "v"}, "text/csv")
    lake.engine.stage(REPOSITORY, "main", entry)
    assert lake.engine.get_entry(REPOSITORY, "main", "a/b") == entry
    commit = lake.commit()
    for ref in ("main", "main@", commit.id, commit.id[:8]):
        assert lake.engine.get_entry(REPOSITORY, ref, "a/b") == entry
    with pytest.raises(NotFound):
        lake.engine.get_entry(REPOSITORY, "main~1", "a/b")
    with pytest.raises(NotFound):
        lake.engine.get_entry(REPOSITORY, "main", "a")


@pytest.mark.parametrize("path", ["", "x" * 1025, "é" * 513, "\ud800"])
def test_bad_paths_are_refused(lake: Lake, path: str) -> None:
    with pytest.raises(Invalid, match="path"):
        lake.put(path)
    with pytest.raises(Invalid, match="path"):
        lake.delete(path)


def test_the_longest_path_and_odd_characters_are_kept(lake: Lake) -> None:
    odd = ["x" * 1024, " ", "a//b", "/a", "a/", "ü\u0301", "\U0010ffff", "tab\t"]
    for path in odd:
        lake.put(path)
    lake.commit()
    assert listed(lake) == sorted(odd)


def test_conditional_writes(lake: Lake) -> None:
    stage = lake.engine.stage
    stage(REPOSITORY, "main", Entry("a", "x", checksum="1"), if_absent=True)
    with pytest.raises(PreconditionFailed):
        stage(REPOSITORY, "main", Entry("a", "x", checksum="2"), if_absent=True)
    lake.commit()
    with pytest.raises(PreconditionFailed):
        stage(REPOSITORY, "main", Entry("a", "x", checksum="2"), if_absent=True)
    with pytest.raises(PreconditionFailed):
        stage(REPOSITORY, "main", Entry("a", "x", checksum="3"), if_match="2")
    stage(REPOSITORY, "main", Entry("a", "x", checksum="2"), if_match="1")
    lake.delete("a")
    with pytest.raises(PreconditionFailed):
        stage(REPOSITORY, "main", Entry("a", "x", checksum="3"), if_match="2")
    stage(REPOSITORY, "main", Entry("a", "x", checksum="3"), if_absent=True)
    assert lake.content() == {"a": "3"}


def test_deleting_hides_and_deleting_nothing_succeeds(lake: Lake) -> None:
    lake.save(a="1", b="1")
    lake.delete("a")
    lake.delete("never")
    lake.delete("a")
    assert lake.content() == {"b": "1"}
    assert lake.changes() == [("removed", "a")]
    lake.put("new")
    lake.delete("new")
    assert lake.changes() == [("removed", "a")]
    lake.engine.delete_many(REPOSITORY, "main", ["b", "x", "y"])
    lake.commit()
    assert lake.content() == {}


def test_writes_to_what_is_not_there(lake: Lake) -> None:
    for act in (lambda: lake.put("a", branch="absent"), lambda: lake.delete("a", branch="absent")):
        with pytest.raises(NotFound, match="branch not found"):
            act()
    with pytest.raises(NotFound, match="repository not found"):
        lake.engine.list_entries("absent", "main")


def test_overwriting_back_is_no_change(lake: Lake) -> None:
    lake.save(a="1")
    lake.put("a", "2")
    assert lake.changes() == [("changed", "a")]
    lake.put("a", "1")
    assert lake.changes() == []
    assert not lake.engine.is_dirty(REPOSITORY, "main")
    lake.delete("a")
    lake.put("a", "1")
    assert lake.changes() == []


def test_listing_merges_the_staging_area_in(lake: Lake) -> None:
    lake.save(b="1", d="1", f="1")
    lake.put("a")
    lake.put("d", "2")
    lake.delete("b")
    lake.put("g")
    assert lake.content("main") == {"a": "1", "d": "2", "f": "1", "g": "1"}
    assert lake.content("main@") == {"b": "1", "d": "1", "f": "1"}


def test_listing_with_a_delimiter_rolls_up_and_pages(lake: Lake) -> None:
    for path in ("a", "a/1", "a/2/x", "a/2/y", "a0", "b/1", "c"):
        lake.put(path)
    lake.commit()
    lake.put("a/3")
    lake.put("d/1")
    lake.delete("b/1")
    expected = ["a", "a/", "a0", "c", "d/"]
    for amount in (1, 2, 3, 100):
        assert listed(lake, delimiter="/", amount=amount) == expected
        assert listed(lake, delimiter="/", prefix="a/", amount=amount) == ["a/1", "a/2/", "a/3"]
    page = lake.engine.list_entries(REPOSITORY, "main", delimiter="/")
    assert isinstance(page.results[1], CommonPrefix)
    assert listed(lake, prefix="a/2") == ["a/2/x", "a/2/y"]
    assert listed(lake, prefix="a/2", delimiter="/") == ["a/2/"]
    assert listed(lake, delimiter="x") == ["a", "a/1", "a/2/x", "a/2/y", "a/3", "a0", "c", "d/1"]
    assert listed(lake, after="a/") == ["a/1", "a/2/x", "a/2/y", "a/3", "a0", "c", "d/1"]
    assert listed(lake, after="a/", delimiter="/") == ["a0", "c", "d/"]
    assert listed(lake, after="0", prefix="a/") == ["a/1", "a/2/x", "a/2/y", "a/3"]
    assert listed(lake, after="z") == []


def test_a_prefix_with_nothing_but_tombstones_is_not_listed(lake: Lake) -> None:
    for number in range(5):
        lake.put(f"gone/{number}")
    lake.put("kept/1")
    lake.commit()
    for number in range(5):
        lake.delete(f"gone/{number}")
    assert listed(lake, delimiter="/") == ["kept/"]


def test_an_empty_page_still_tells_that_there_is_more(lake: Lake) -> None:
    lake.put("a")
    page = lake.engine.list_entries(REPOSITORY, "main", amount=0)
    assert (list(page.results), page.has_more) == ([], True)


def test_reset_of_all_a_prefix_and_a_path(lake: Lake) -> None:
    lake.save(a="1", p="1")
    for path in ("a", "p", "p/1", "p/2", "q"):
        lake.put(path, "2")
    lake.engine.reset(REPOSITORY, "main", "path", "a")
    assert lake.changes() == [("changed", "p"), ("added", "p/1"), ("added", "p/2"), ("added", "q")]
    lake.engine.reset(REPOSITORY, "main", "prefix", "p/")
    assert lake.changes() == [("changed", "p"), ("added", "q")]
    lake.engine.reset(REPOSITORY, "main", "path", "absent")
    lake.engine.reset(REPOSITORY, "main")
    assert lake.changes() == []
    assert lake.content() == {"a": "1", "p": "1"}


def test_reset_reaches_what_a_refused_commit_sealed(lake: Lake) -> None:
    lake.save(a="1", b="1")
    for path in ("a", "b", "c", "p/1"):
        lake.put(path, "2")
    with pytest.raises(ValueError, match="refused"):
        lake.commit(check=refuse)
    assert lake.content() == {"a": "2", "b": "2", "c": "2", "p/1": "2"}
    lake.engine.reset(REPOSITORY, "main", "path", "a")
    lake.engine.reset(REPOSITORY, "main", "prefix", "p/")
    lake.engine.reset(REPOSITORY, "main", "path", "c")
    assert lake.changes() == [("changed", "b")]
    lake.commit()
    assert lake.content() == {"a": "1", "b": "2"}


def test_delete_reaches_what_a_refused_commit_sealed(lake: Lake) -> None:
    lake.put("a")
    with pytest.raises(ValueError, match="refused"):
        lake.commit(check=refuse)
    lake.delete("a")
    assert lake.content() == {}
    assert lake.changes() == []


def refuse(prepared: object) -> None:
    raise ValueError("refused")


def test_stage_many_is_one_write(lake: Lake) -> None:
    entries = [Entry(f"n/{number}", "x", checksum="1") for number in range(1000)]
    assert lake.engine.stage_many(REPOSITORY, "main", entries) == 1000
    with pytest.raises(Invalid):
        lake.engine.stage_many(REPOSITORY, "main", [Entry("ok", "x"), Entry("", "x")])
    assert len(lake.content()) == 1000


def test_an_issued_address_is_claimed_once_before_it_expires(lake: Lake) -> None:
    now = int(time.time())
    lake.engine.issue_address(REPOSITORY, "main", "data/x", expires_at=now + 100)
    lake.engine.issue_address(REPOSITORY, "main", "data/late", expires_at=now - 1)
    assert not lake.engine.claim_address(REPOSITORY, "data/late")
    assert not lake.engine.claim_address(REPOSITORY, "data/other")
    assert lake.engine.claim_address(REPOSITORY, "data/x")
    assert not lake.engine.claim_address(REPOSITORY, "data/x")


def test_gone_objects_are_known_and_cannot_be_staged_again(lake: Lake) -> None:
    entry = lake.put("a")
    lake.commit()
    lake.engine.mark_gone(REPOSITORY, [entry.physical_address])
    assert lake.engine.is_gone(REPOSITORY, entry)
    with pytest.raises(Gone):
        lake.engine.stage(REPOSITORY, "main", entry)
    with pytest.raises(Gone):
        lake.engine.stage_many(REPOSITORY, "main", [entry])
    assert not lake.engine.is_gone(REPOSITORY, lake.put("b"))

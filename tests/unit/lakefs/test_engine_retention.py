"""What expires, what is alive, and what is marked as gone."""

import pytest

from include.stack.lakefs.model import Entry, RetentionRules
from tests.unit.lakefs.conftest import REPOSITORY, Lake

DAY = 24 * 3600
NOW = 1_000 * DAY
RULES = RetentionRules(default_retention_days=10, branches={"long": 100})


def save_at(lake: Lake, days_ago: float, path: str, branch: str = "main") -> str:
    """Overwrite a path on a branch so many days ago; returns the address."""
    entry = lake.put(path, f"{days_ago}-{branch}", branch)
    lake.commit(branch=branch, date=int(NOW - days_ago * DAY))
    return entry.physical_address


def expired(lake: Lake) -> list[str]:
    return list(lake.engine.expired_addresses(REPOSITORY, RULES, now=NOW))


def test_rules_are_kept(lake: Lake) -> None:
    assert lake.engine.get_retention_rules(REPOSITORY) is None
    lake.engine.set_retention_rules(REPOSITORY, RULES)
    assert lake.engine.get_retention_rules(REPOSITORY) == RULES
    lake.engine.delete_retention_rules(REPOSITORY)
    assert lake.engine.get_retention_rules(REPOSITORY) is None
    save_at(lake, 500, "a")
    save_at(lake, 400, "a")
    assert list(lake.engine.expired_addresses(REPOSITORY, now=NOW)) == []  # without rules nothing expires


def test_a_commit_expires_so_many_days_after_it_was_the_head(lake: Lake) -> None:
    oldest = save_at(lake, 50, "a")
    save_at(lake, 12, "a")  # head until 5 days ago
    save_at(lake, 5, "a")
    assert expired(lake) == [oldest]


def test_the_head_stays_however_old_and_a_branch_has_its_own_days(lake: Lake) -> None:
    save_at(lake, 500, "a")
    lake.branch("long")
    kept = save_at(lake, 90, "a", "long")
    save_at(lake, 80, "a", "long")
    assert expired(lake) == []
    lake.engine.delete_branch(REPOSITORY, "long")
    assert kept in expired(lake)


def test_what_deleted_branches_leave_follows_the_default(lake: Lake) -> None:
    lake.branch("dev")
    young = save_at(lake, 3, "x", "dev")
    lake.engine.delete_branch(REPOSITORY, "dev")
    lake.branch("dev")
    old = save_at(lake, 30, "y", "dev")
    lake.engine.delete_branch(REPOSITORY, "dev")
    assert expired(lake) == [old]
    assert young not in expired(lake)


def test_tags_staging_areas_and_issued_uploads_keep_their_addresses(lake: Lake) -> None:
    tagged = save_at(lake, 60, "a")
    lake.engine.create_tag(REPOSITORY, "v1", "main")
    copied = save_at(lake, 50, "b")
    uploading = save_at(lake, 45, "c")
    lake.delete("b")
    lake.delete("c")
    save_at(lake, 40, "a")
    assert expired(lake) == sorted([copied, uploading])
    lake.engine.stage(REPOSITORY, "main", Entry("copy", copied, checksum="c"))
    lake.engine.issue_address(REPOSITORY, "main", uploading, expires_at=2**40)
    assert expired(lake) == []
    assert tagged in set(lake.engine.referenced_addresses(REPOSITORY))


def test_an_address_alive_at_another_path_does_not_expire(lake: Lake) -> None:
    moved = save_at(lake, 60, "a")
    lake.engine.stage(REPOSITORY, "main", Entry("b", moved, checksum="c"))
    lake.delete("a")
    save_at(lake, 50, "z")
    assert expired(lake) == []


def test_expire_marks_what_it_returns_once_and_only_what_is_owned(lake: Lake) -> None:
    lake.engine.stage(REPOSITORY, "main", Entry("full", "s3://elsewhere/x", "full", checksum="1"))
    gone = save_at(lake, 60, "a")
    lake.delete("full")
    save_at(lake, 50, "a")
    lake.engine.set_retention_rules(REPOSITORY, RULES)
    owned = lambda address: "://" not in address  # noqa: E731
    assert lake.engine.expire(REPOSITORY, owned, now=NOW) == [gone]
    assert lake.engine.expire(REPOSITORY, owned, now=NOW) == []
    old = lake.engine.get_entry(REPOSITORY, "main~1", "a")
    assert lake.engine.is_gone(REPOSITORY, old)
    assert not lake.engine.is_gone(REPOSITORY, lake.engine.get_entry(REPOSITORY, "main", "a"))
    assert not lake.engine.is_gone(REPOSITORY, lake.engine.get_entry(REPOSITORY, "main~1", "full"))


def test_referenced_addresses_are_all_of_them_once(lake: Lake) -> None:
    committed = [save_at(lake, days, path) for days, path in ((60, "a"), (50, "a"), (40, "b"))]
    staged = lake.put("c").physical_address
    lake.engine.stage(REPOSITORY, "main", Entry("d", committed[0], checksum="1"))
    found = list(lake.engine.referenced_addresses(REPOSITORY))
    assert sorted(found) == sorted([*committed, staged])


@pytest.mark.parametrize("days", [0, 10, 1000])
def test_expired_commits_are_those_not_alive(lake: Lake, days: int) -> None:
    for age in (50, 30, 20, 5):
        save_at(lake, age, "a")
    rules = RetentionRules(default_retention_days=days)
    count = len(lake.engine.expired_commits(REPOSITORY, rules, now=NOW))
    assert count == {0: 4, 10: 3, 1000: 0}[days]

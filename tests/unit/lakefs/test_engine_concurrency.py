"""Many clients at once: no update is lost, nothing is half seen."""

from concurrent.futures import ThreadPoolExecutor

from include.stack.lakefs.model import NoChanges
from tests.unit.lakefs.conftest import Lake

CLIENTS = 8
ROUNDS = 12


def test_concurrent_merges_into_one_branch_all_arrive(lake: Lake) -> None:
    def publish(client: int) -> None:
        for number in range(ROUNDS):
            name = f"run-{client}-{number}"
            lake.branch(name)
            lake.put(f"{client}/{number}", branch=name)
            lake.commit(branch=name)
            lake.merge(name)
            lake.engine.delete_branch("repo", name)

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(publish, range(CLIENTS)))
    assert len(lake.content()) == CLIENTS * ROUNDS
    assert len(lake.log(first_parent=True, amount=1000)) == CLIENTS * ROUNDS + 1


def test_writes_and_commits_on_one_branch_lose_nothing(lake: Lake) -> None:
    def write_and_commit(client: int) -> None:
        for number in range(ROUNDS):
            lake.put(f"{client}/{number}")
            try:
                lake.commit(f"{client}/{number}")
            except NoChanges:  # another client's commit took it in
                assert f"{client}/{number}" in lake.content("main@")

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(write_and_commit, range(CLIENTS)))
    assert len(lake.content("main@")) == CLIENTS * ROUNDS
    assert lake.changes() == []


def test_readers_see_whole_commits_only(lake: Lake) -> None:
    """Each commit sets all objects to one value; a reader of the branch's commits never sees two."""
    names = [f"o{number}" for number in range(10)]
    lake.save(**dict.fromkeys(names, "0"))
    done = False

    def read() -> int:
        seen = 0
        while not done:
            values = set(lake.content("main@").values())
            assert len(values) == 1, values
            seen += 1
        return seen

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        try:
            for value in range(1, 40):
                lake.save(**dict.fromkeys(names, str(value)))
        finally:
            done = True
        assert all(reader.result() > 0 for reader in readers)


def test_an_object_staged_before_a_commit_is_readable_at_every_moment(lake: Lake) -> None:
    """Between sealing, committing and dropping the staging area no reader misses what was written."""
    done = False

    def read() -> None:
        while not done:
            assert "kept" in lake.content("main")

    lake.put("kept")
    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        try:
            for number in range(60):
                lake.put("kept", str(number))
                lake.commit()
        finally:
            done = True
        for reader in readers:
            reader.result()

"""Trees against dictionaries: edits, differences and merges of random content, cut into small ranges."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.stack.lakefs.engine import ranges
from include.stack.lakefs.engine.differences import merge_differences, tree_differences
from include.stack.lakefs.engine.ranges import Edit, row_of
from include.stack.lakefs.engine.store import Store, Transaction
from include.stack.lakefs.engine.trees import Builder, Chunks, Tree, apply_edits
from include.stack.lakefs.model import Entry, LakeError, NotFound

Content = dict[str, int]
REPOSITORY = 1

paths = st.one_of(
    st.integers(0, 300).map(lambda number: f"raw/table/part-{number:05d}.parquet"),
    st.text(st.sampled_from("ab/0é\U0001f30a"), min_size=1, max_size=6),
)
contents = st.dictionaries(paths, st.integers(0, 3), max_size=150)
changes = st.dictionaries(paths, st.one_of(st.none(), st.integers(0, 3)), max_size=60)
property_test = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Forest:
    """Builds and reads trees in one store."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "metadata.db")
        self.chunks = Chunks()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Transaction]:
        with self.store.snapshot() as tx:
            yield tx

    def tree(self, tx: Transaction, tree_id: str) -> Tree:
        return Tree(self.chunks, tx, REPOSITORY, tree_id)

    def grow(self, tree_id: str, edits: Mapping[str, int | None]) -> tuple[str, int]:
        builder = Builder()
        with self.reading() as tx:
            grown, changed = apply_edits(self.tree(tx, tree_id), as_edits(edits), builder)
        self.store.write(lambda tx: self.chunks.save(tx, REPOSITORY, builder.chunks.items()))
        return grown, changed

    def content(self, tree_id: str) -> Content:
        with self.reading() as tx:
            return {row.path: row.entry().size_bytes for row in self.tree(tx, tree_id).scan()}


def as_edits(edits: Mapping[str, int | None]) -> Iterator[Edit]:
    for path, value in sorted(edits.items()):
        yield path, None if value is None else row_of(Entry(path, f"data/{path}-{value}", size_bytes=value))


def edited(content: Content, edits: Mapping[str, int | None]) -> Content:
    return {path: value for path, value in {**content, **edits}.items() if value is not None}


@pytest.fixture
def forest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Forest]:
    monkeypatch.setattr(ranges, "RANGE_MIN_COUNT", 2)
    monkeypatch.setattr(ranges, "RANGE_MAX_COUNT", 9)
    monkeypatch.setattr(ranges, "_CUT_BELOW", 2**32 // 4)
    grown = Forest(tmp_path)
    yield grown
    grown.store.close()


@property_test
@given(contents, changes)
def test_edits_give_the_edited_dictionary(
    forest: Forest, content: Content, edits: dict[str, int | None]
) -> None:
    before, _ = forest.grow("", content)
    after, changed = forest.grow(before, edits)
    expected = edited(content, edits)
    assert forest.content(before) == content
    assert forest.content(after) == expected
    assert list(forest.content(after)) == sorted(expected)
    assert changed == len(
        {path for path in content.keys() | edits.keys() if content.get(path) != expected.get(path)}
    )


@property_test
@given(contents, st.lists(changes, max_size=4))
def test_equal_content_has_the_same_id_whatever_the_edits(
    forest: Forest, content: Content, steps: list[dict[str, int | None]]
) -> None:
    tree_id, _ = forest.grow("", content)
    for edits in steps:
        tree_id, _ = forest.grow(tree_id, edits)
        content = edited(content, edits)
    afresh, _ = forest.grow("", content)
    one_by_one = ""
    for path, value in sorted(content.items(), key=lambda item: hash(item)):
        one_by_one, _ = forest.grow(one_by_one, {path: value})
    assert tree_id == afresh == one_by_one


@property_test
@given(contents, contents, paths)
def test_differences_are_those_of_the_dictionaries(
    forest: Forest, left: Content, right: Content, start: str
) -> None:
    left_id, right_id = forest.grow("", left)[0], forest.grow("", right)[0]
    with forest.reading() as tx:
        found = list(tree_differences(forest.tree(tx, left_id), forest.tree(tx, right_id), start))
    expected = [
        (path, left.get(path), right.get(path))
        for path in sorted(left.keys() | right.keys())
        if path >= start and left.get(path) != right.get(path)
    ]
    assert [
        (d.path, d.left and d.left.entry().size_bytes, d.right and d.right.entry().size_bytes) for d in found
    ] == (expected)


@property_test
@given(contents, changes, changes)
def test_a_merge_is_three_way_per_path(
    forest: Forest, base: Content, ours: dict[str, int | None], theirs: dict[str, int | None]
) -> None:
    base_id, _ = forest.grow("", base)
    destination, source = edited(base, ours), edited(base, theirs)
    ids = [forest.grow(base_id, ours)[0], forest.grow(base_id, theirs)[0], base_id]
    with forest.reading() as tx:
        ours_tree, theirs_tree, base_tree = (forest.tree(tx, tree_id) for tree_id in ids)
        merging = merge_differences(ours_tree, theirs_tree, base_tree)
        found = {difference.path: conflicts for difference, conflicts in merging}
    expected = {}
    for path in base.keys() | ours.keys() | theirs.keys():
        here, there, origin = destination.get(path), source.get(path), base.get(path)
        if there not in (here, origin):
            expected[path] = here != origin
    assert found == expected


def test_an_edit_back_to_the_same_identity_keeps_the_first_address(forest: Forest) -> None:
    tree_id, _ = forest.grow("", {"a": 1})
    again = row_of(Entry("a", "data/elsewhere", size_bytes=1, mtime=99))
    with forest.reading() as tx:
        assert apply_edits(forest.tree(tx, tree_id), [("a", again)], Builder()) == (tree_id, 0)


def test_metadata_order_does_not_matter_to_identity_nor_record() -> None:
    one = row_of(Entry("a", "x", metadata={"b": "1", "a": "2"}))
    assert one == row_of(Entry("a", "x", metadata={"a": "2", "b": "1"}))
    assert one.identity != row_of(Entry("a", "x", metadata={"a": "1", "b": "2"})).identity


@pytest.mark.parametrize(
    ("field", "value", "same"),
    [
        ("size_bytes", 2, False),
        ("checksum", "other", False),
        ("content_type", "text/csv", False),
        ("metadata", {"k": "v"}, False),
        ("physical_address", "elsewhere", True),
        ("address_type", "full", True),
        ("mtime", 7, True),
    ],
)
def test_identity_is_size_checksum_metadata_and_type(field: str, value: object, same: bool) -> None:
    plain = Entry("a", "x", checksum="c", size_bytes=1)
    other = Entry("a", **{"physical_address": "x", "checksum": "c", "size_bytes": 1, field: value})  # type: ignore[arg-type]
    assert (ranges.identity(plain) == ranges.identity(other)) is same


def test_one_change_rewrites_one_range_of_a_large_tree(tmp_path: Path) -> None:
    forest = Forest(tmp_path)
    content = {f"raw/{number:06d}": 1 for number in range(30_000)}
    tree_id, _ = forest.grow("", content)
    builder = Builder()
    with forest.reading() as tx:
        tree = forest.tree(tx, tree_id)
        counts = [line.count for line in tree.metarange.lines]
        apply_edits(tree, as_edits({"raw/015000": 2}), builder)
    assert len(counts) > 20
    assert sum(counts) == 30_000
    assert len(builder.chunks) == 2  # the range and the metarange
    forest.store.close()


def test_a_damaged_chunk_is_told_not_read(forest: Forest) -> None:
    tree_id, _ = forest.grow("", {"a": 1})
    forest.store.write(
        lambda tx: tx.execute("UPDATE chunks SET body = CAST(substr(body, 1, 9) || body AS BLOB)")
    )
    with pytest.raises(LakeError, match="damaged"):
        Forest(forest.store._path.parent).content(tree_id)


def test_an_unknown_tree_is_not_found(forest: Forest) -> None:
    with pytest.raises(NotFound, match="metarange not found"):
        forest.content("ab" * 32)

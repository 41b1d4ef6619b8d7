"""What is to be done to staged tables, and which column of a file is which of the result."""

import pytest

from include.features.spark_jobs.change_files import ChangeFile
from include.features.spark_jobs.progress import parse_progress, plan
from include.features.spark_jobs.shapes import Shape, ShapeColumn, layout


def shape(*columns: str, relation: int = 1) -> Shape:
    """Columns as `name` or `name:type`."""
    named = [column.partition(":") for column in columns]
    return Shape(relation, tuple(ShapeColumn(name, kind or "text", name == "id") for name, _, kind in named))


def file(number: int, first: int, last: int, of: Shape | None = None) -> ChangeFile:
    return ChangeFile(f"{number:05d}.parquet", f"sha-{number}", first, last, of or shape("id", "x"))


@pytest.mark.parametrize(
    ("shapes", "current", "dropped", "names"),
    [
        ([("id", "x"), ("id", "x")], ("id", "x"), (), [("id", "x")]),
        ([("id", "x"), ("id", "x", "y")], ("id", "x", "y"), (), [("id", "x"), ("id", "x", "y")]),
        ([("id", "x", "y"), ("id", "y")], ("id", "y"), ("x",), [("id", "x", "y"), ("id", "y")]),
        ([("id", "x"), ("id", "z")], ("id", "z"), (), [("id", "z"), ("id", "z")]),
        ([("id", "x"), ("id", "x:int")], ("id", "x"), (), [("id", "x"), ("id", "x")]),
        # Dropped and added: not the same, though it is of one name.
        ([("id", "x"), ("id",), ("id", "x")], ("id", "x"), ("x__2",), [("id", "x__2"), ("id",), ("id", "x")]),
        (
            [("id", "x", "y"), ("id", "y", "x")],
            ("id", "y", "x"),
            ("x__2",),
            [("id", "x__2", "y"), ("id", "y", "x")],
        ),
        # With another name and another type it is another column.
        ([("id", "x"), ("id", "z:int")], ("id", "z"), ("x",), [("id", "x"), ("id", "z")]),
        # One after the other.
        (
            [("id", "x", "y"), ("id", "x", "z"), ("id", "q", "z")],
            ("id", "q", "z"),
            (),
            [("id", "q", "z")] * 3,
        ),
    ],
)
def test_columns_are_followed_through_changes_of_shape(shapes, current, dropped, names):
    found = layout([shape(*columns) for columns in shapes])
    assert (found.current, found.dropped) == (current, dropped)
    assert [period.names for period in found.periods] == names
    assert found.columns == (*current, *dropped)


def test_a_table_made_anew_is_told():
    found = layout([shape("id"), shape("id"), shape("id", relation=2)])
    assert [(period.first, period.end, period.anew) for period in found.periods] == [
        (0, 2, False),
        (2, 3, True),
    ]
    work = plan(None, [file(1, 1, 4), file(2, 5, 6, shape("id", "x", relation=2))], ("id",), 4)
    assert work.made_anew == (5,)


def test_what_is_new_decides_what_is_done():
    files = [file(1, 0, 10), file(2, 11, 20)]
    first = plan(None, files, ("id",), 4)
    assert (first.mode, first.new) == ("all", tuple(files))
    held = first.progress
    assert plan(held, files, ("id",), 4).mode == "nothing"
    assert plan(held, [*files, file(3, 21, 30)], ("id",), 4).mode == "forward"
    late = plan(held, [*files, file(3, 20, 30)], ("id",), 4)
    assert (late.mode, [new.name for new in late.new]) == ("late", ["00003.parquet"])
    assert plan(held, files[:1], ("id",), 4).mode == "all", "a file of the log is gone"
    assert plan(held, files, ("x",), 4).mode == "all"
    assert plan(held, files, ("id",), 8).mode == "all"
    assert plan(held, [*files, file(3, 21, 30, shape("id", "x", "y"))], ("id",), 4).mode == "all"


def test_files_are_found_by_their_period():
    files = [file(1, 0, 1), file(2, 2, 3, shape("id")), file(3, 4, 5, shape("id")), file(4, 6, 7)]
    work = plan(None, files, ("id",), 4)
    found = work.by_period([files[0], files[2]])
    assert [(period.shape.names, names) for period, names in found] == [
        (("id", "x"), ["00001.parquet"]),
        (("id",), ["00003.parquet"]),
    ]


def test_progress_is_read_as_it_was_written():
    progress = plan(None, [file(1, 0, 1), file(2, 2, 3, shape("id", "é"))], ("id",), 4).progress
    assert parse_progress(progress.document().encode()) == progress
    assert progress.last == 3
    assert parse_progress(progress.document().replace('"version": 2', '"version": 1').encode()) is None

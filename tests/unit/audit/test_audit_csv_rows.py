"""Records of a CSV file are counted as a CSV reader counts them, wherever the chunks are cut."""

import csv
import gzip
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import fs

from include.audit import origins

FIELDS = st.text(alphabet='a,"\n ', min_size=1, max_size=6)


@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
@given(rows=st.lists(st.tuples(FIELDS, FIELDS), max_size=12), chunk=st.integers(1, 9), cut=st.booleans())
def test_as_many_rows_as_a_reader_finds(tmp_path_factory, ending, rows, chunk, cut):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("a", "b"), *rows])
    written = text.getvalue().removesuffix("\n") if cut else text.getvalue()
    assert len(list(csv.reader(io.StringIO(written)))) == len(rows) + 1
    path = tmp_path_factory.mktemp("rows") / f"file{ending}"
    path.write_bytes(gzip.compress(written.encode()) if ending.endswith("gz") else written.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(origins, "CHUNK_BYTES", chunk)
        assert origins._csv_rows(fs.LocalFileSystem(), str(path)) == len(rows)

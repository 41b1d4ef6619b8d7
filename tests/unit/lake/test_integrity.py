"""What proves that bytes are the ones that the lake names."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.lake.errors import CorruptObject, UploadFailed
from include.lake.integrity import (
    PART_SIZES,
    SHA256_KEY,
    Digester,
    combined_etag,
    digest_file,
    likely_part_sizes,
    prove,
    sha256_file,
)
from include.lake.objects import ObjectStat
from include.lake.outgoing import check_taken, read_outgoing

MIB = 1 << 20


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@given(content=st.binary(max_size=500), part_bytes=st.integers(1, 100), cuts=st.lists(st.integers(0, 500)))
def test_digests_do_not_depend_on_how_the_bytes_arrive(content, part_bytes, cuts):
    digester, start = Digester(part_bytes=part_bytes), 0
    for cut in [*sorted(min(cut, len(content)) for cut in cuts), len(content)]:
        digester.update(content[start:cut])
        start = cut
    done = digester.done()
    assert done.size_bytes == len(content)
    assert (done.sha256, done.md5) == (hashlib.sha256(content).hexdigest(), md5(content))
    parts = [content[first : first + part_bytes] for first in range(0, len(content), part_bytes)]
    assert [part.hex() for part in done.part_md5s] == [md5(part) for part in parts]


def test_a_file_has_the_digests_of_its_bytes(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"abc" * MIB)
    assert digest_file(file).sha256 == sha256_file(file) == hashlib.sha256(b"abc" * MIB).hexdigest()
    assert digest_file(file).part_md5s == ()
    assert len(digest_file(file, part_bytes=MIB + 1).part_md5s) == 3


def case(tmp_path, content: bytes, **stat):
    file = tmp_path / "file"
    file.write_bytes(content)
    fields = {"path": "raw/file", "size_bytes": len(content), "checksum": md5(content), **stat}
    return ObjectStat(**fields), file, digest_file(file)


def test_the_sha256_of_the_uploader_decides(tmp_path):
    sha = hashlib.sha256(b"abc").hexdigest()
    stat, file, got = case(tmp_path, b"abc", metadata={SHA256_KEY: sha}, checksum="whatever")
    assert prove(stat, file, got, etag="other", opaque=False) == "sha256"
    stat, file, got = case(tmp_path, b"abd", metadata={SHA256_KEY: sha})
    with pytest.raises(CorruptObject, match="sha256"):
        prove(stat, file, got, etag="", opaque=False)


def test_without_it_the_md5_decides(tmp_path):
    stat, file, got = case(tmp_path, b"abc")
    assert prove(stat, file, got, etag="", opaque=False) == "md5"
    stat, file, got = case(tmp_path, b"abc", checksum=md5(b"abd"))
    with pytest.raises(CorruptObject, match="md5"):
        prove(stat, file, got, etag=stat.checksum, opaque=False)


def test_a_tag_of_an_encrypting_store_is_no_md5(tmp_path):
    stat, file, got = case(tmp_path, b"abc", checksum="0" * 32)
    assert prove(stat, file, got, etag="0" * 32, opaque=True) == "etag"
    with pytest.raises(CorruptObject, match="the store holds"):
        prove(stat, file, got, etag="1" * 32, opaque=True)


@pytest.mark.parametrize("part_mib", [5, 8])
def test_parts_of_the_usual_sizes_are_proven(tmp_path, part_mib):
    content = bytes(range(256)) * (11 * MIB // 256)
    parts = [content[first : first + part_mib * MIB] for first in range(0, len(content), part_mib * MIB)]
    etag = combined_etag([bytes.fromhex(md5(part)) for part in parts])
    stat, file, got = case(tmp_path, content, checksum=etag)
    assert prove(stat, file, got, etag=etag, opaque=False) == "multipart"
    stat, file, got = case(tmp_path, b"!" + content[1:], checksum=etag)
    assert prove(stat, file, got, etag=etag, opaque=False) == "etag", "proven, though it is not"
    with pytest.raises(CorruptObject):
        prove(stat, file, got, etag=etag.replace("-", "0-"), opaque=False)


def test_the_size_counts_in_all_cases(tmp_path):
    stat, file, got = case(tmp_path, b"abc", size_bytes=4)
    with pytest.raises(CorruptObject, match="3 bytes instead of 4"):
        prove(stat, file, got, etag=stat.checksum, opaque=True)


@settings(max_examples=200)
@given(size=st.integers(1, 20 * 1024 * MIB), part=st.sampled_from(PART_SIZES))
def test_the_part_size_in_use_is_among_those_tried(size, part):
    parts = -(-size // part)
    assert part in likely_part_sizes(size, parts)


def test_a_store_that_took_other_bytes_is_noticed_by_its_tag(tmp_path):
    file = tmp_path / "file.bin"
    file.write_bytes(b"abcdef")
    whole, parts = read_outgoing("raw/file.bin", file), read_outgoing("raw/file.bin", file, part_bytes=4)
    check_taken(whole, md5(b"abcdef"), opaque=False)
    check_taken(parts, combined_etag(parts.digests.part_md5s), opaque=False)
    check_taken(parts, md5(b"abcd"), opaque=False, part=0)
    check_taken(parts, md5(b"ef"), opaque=False, part=1)
    for tag in ("0x8DB5A1", "", "0" * 31):  # no tag of a kind that says something
        check_taken(whole, tag, opaque=False)
    check_taken(whole, "0" * 32, opaque=True)
    for outgoing, tag, part in (
        (whole, md5(b"abcdeg"), None),
        (parts, "0" * 32 + "-2", None),
        (parts, md5(b"ef"), 0),
    ):
        with pytest.raises(UploadFailed, match="other bytes"):
            check_taken(outgoing, tag, opaque=False, part=part)

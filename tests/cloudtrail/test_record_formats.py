"""Bytes of one file -> its records, and the damage that ends it."""

import codecs
import gzip
import io
import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leastpriv.cloudtrail import record_blocks
from leastpriv.cloudtrail.record_blocks import DamagedFileError
from leastpriv.cloudtrail.record_formats import unwrap
from tests.cloudtrail.simple_reader import read_values
from tests.hypothesis_profiles import examples

RECORDS = [
    {
        "eventVersion": "1.08",
        "eventName": f"Get{number}",
        "requestParameters": {"name": 'é "x" {[,]} \\' * 3},
    }
    for number in range(12)
]


def compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def values(data: bytes | io.BytesIO) -> tuple[list[Any], list[str]]:
    """The values of a file, and the damage that ends it."""
    read_so_far: list[Any] = []
    try:
        read_so_far.extend(read_values(io.BytesIO(data) if isinstance(data, bytes) else data))
    except DamagedFileError as error:
        return read_so_far, [str(error)]
    return read_so_far, []


def records(data: bytes) -> list[Any]:
    return [record for value in values(data)[0] for record in unwrap(value)]


def damage(data: bytes) -> list[str]:
    return values(data)[1]


TRAIL = compact({"Records": RECORDS}).encode()
LINES = "\n".join(compact(record) for record in RECORDS).encode()
SHAPES = {
    "trail": TRAIL,
    "pretty trail": json.dumps({"Records": RECORDS}, indent=2).encode(),
    "bare list": compact(RECORDS).encode(),
    "one object per line": LINES,
    "concatenated": LINES.replace(b"\n", b""),
    "trails one after the other": TRAIL[:-2] + b"]}\n" + compact({"Records": []}).encode(),
    "lookup-events": compact(
        {"Events": [{"EventId": "x", "CloudTrailEvent": compact(r)} for r in RECORDS]}
    ).encode(),
    "lookup-events with a token behind": compact(
        {
            "Events": [{"CloudTrailEvent": compact(r)} for r in RECORDS],
            "NextToken": "t",
            "Meta": {"a": [1]},
        }
    ).encode(),
    "lookup-events with a token before": compact(
        {
            "NextToken": "t",
            "Meta": {"a": [1]},
            "Events": [{"CloudTrailEvent": compact(r)} for r in RECORDS],
        }
    ).encode(),
    "queried events": compact([compact(record) for record in RECORDS]).encode(),
    "Logs Insights, exported as JSON": compact(
        [{"@timestamp": "2026-11-01 00:00:00.000", "@message": r} for r in RECORDS]
    ).encode(),
    "EventBridge": "\n".join(compact({"detail-type": "x", "detail": r}) for r in RECORDS).encode(),
    "CloudWatch Logs": compact(
        {"logEvents": [{"id": "1", "message": compact(r)} for r in RECORDS]}
    ).encode(),
    "Logstash": "\n".join(
        compact({"@version": "1", "message": compact(r)}) for r in RECORDS
    ).encode(),
    "Elasticsearch": compact(
        {"hits": {"hits": [{"_source": record} for record in RECORDS]}}
    ).encode(),
    "byte order mark": codecs.BOM_UTF8 + TRAIL,
    "PowerShell": codecs.BOM_UTF16_LE + TRAIL.decode().encode("utf-16-le"),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("packed", [False, True])
def test_every_wrapping_gives_the_same_records_and_no_damage(shape: str, packed: bool) -> None:
    content = gzip.compress(SHAPES[shape]) if packed else SHAPES[shape]
    assert records(content) == RECORDS
    assert damage(content) == []


def test_fields_that_a_tool_adds_to_a_record_do_not_hide_it() -> None:
    dressed = {**RECORDS[0], "message": '{"a": 1}', "detail": {"b": 2}, "@timestamp": "x"}
    assert records(compact(dressed).encode()) == [dressed]


def test_all_gzip_members_are_read_and_zeros_between_and_behind_are_passed_over() -> None:
    half = len(TRAIL) // 2
    members = gzip.compress(TRAIL[:half]) + b"\0" * 700 + gzip.compress(TRAIL[half:]) + b"\0" * 700
    assert records(members) == RECORDS
    assert damage(members) == []


@pytest.mark.parametrize("rest", [b"x", b"\0\0garbage", b"\x1f", b"\x1f\x8b"])
def test_what_follows_a_gzip_member_and_is_none_is_damage_behind_all_records(rest: bytes) -> None:
    content = gzip.compress(TRAIL) + rest
    assert records(content) == RECORDS
    assert damage(content)


def test_a_wrong_check_sum_is_damage() -> None:
    content = bytearray(gzip.compress(TRAIL))
    content[-6] ^= 1
    assert damage(bytes(content)) == ["its gzip data is damaged"]


def test_an_empty_file_is_damage_because_none_is_delivered_empty() -> None:
    assert damage(b"") == ["it is empty"]


def test_a_gzip_bomb_is_damage_after_the_records_before_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bomb = gzip.compress(LINES + b"\n" + b" " * 5_000_000)
    monkeypatch.setattr(record_blocks, "MAX_DECOMPRESSED", 1_000_000)
    assert damage(bomb) == ["it unfolds to more than 1,000,000 bytes"]
    assert records(bomb) == RECORDS


@pytest.mark.parametrize("shape", ["trail", "pretty trail"])
def test_a_damaged_record_ends_the_file_after_the_records_before_it(shape: str) -> None:
    content = SHAPES[shape].replace(b'"Get4"', b'"Get4')
    assert records(content) == RECORDS[:4]
    assert len(damage(content)) == 1


@pytest.mark.parametrize("line", [b'"Get4', b'"Get\xff"', b'"Get4"}}\nINFO {"x":'])
def test_a_damaged_line_affects_no_other_line(line: bytes) -> None:
    content = LINES.replace(b'"Get4"', line)
    assert [record for record in records(content) if record in RECORDS] == [
        *RECORDS[:4],
        *RECORDS[5:],
    ]
    assert len(damage(content)) == 1


def test_a_file_truncated_between_two_records_is_damage() -> None:
    cut = TRAIL.index(b',{"eventVersion"', 300)
    assert damage(TRAIL[:cut])
    assert damage(SHAPES["bare list"][:cut])


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, '{"a":' + "[" * 100_000, "9" * 10_000]
)
def test_deep_or_endless_values_do_not_make_the_reader_fail(text: str) -> None:
    assert records(LINES + b"\n" + text.encode())[:12] == RECORDS


def test_a_value_may_lie_across_chunks_wherever_they_end(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (1, 2, 3, 7, 64, 1000):
        monkeypatch.setattr(record_blocks, "CHUNK", size)
        for shape in ("trail", "pretty trail", "lookup-events with a token before", "PowerShell"):
            assert records(SHAPES[shape]) == RECORDS
            assert records(gzip.compress(SHAPES[shape])) == RECORDS


class Failing(io.BytesIO):
    """A file whose disk fails at its end."""

    def read(self, size: int | None = -1) -> bytes:
        piece = super().read(size)
        if not piece:
            raise OSError(5, "Input/output error")
        return piece


def test_a_disk_that_fails_is_damage_behind_what_was_read() -> None:
    assert values(Failing(LINES)) == (RECORDS, ["it cannot be read: Input/output error"])


def whole_before(data: bytes, at: int) -> int:
    """How many records end before this byte."""
    ends = [
        data.index(compact(record).encode()) + len(compact(record).encode()) for record in RECORDS
    ]
    return sum(end <= at for end in ends)


@pytest.mark.parametrize("shape", ["trail", "bare list", "one object per line", "concatenated"])
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_loses_no_record_before_the_cut(shape: str, share: float) -> None:
    content = SHAPES[shape]
    cut = int(share * len(content))
    assert records(content[:cut]) == RECORDS[: whole_before(content, cut)]
    assert damage(content[:cut]) or shape in ("one object per line", "concatenated")


@pytest.mark.parametrize("shape", ["trail", "bare list", "one object per line"])
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_gzip_file_loses_no_complete_record(shape: str, share: float) -> None:
    packed = gzip.compress(SHAPES[shape])
    cut = packed[: int(share * len(packed))]
    plain = zlib.decompressobj(wbits=31).decompress(cut)
    assert records(cut) == RECORDS[: whole_before(SHAPES[shape], len(plain))]
    assert damage(cut)


@pytest.mark.parametrize(
    "shape", ["trail", "bare list", "one object per line", "lookup-events", "Elasticsearch"]
)
@given(share=st.floats(0, 1, exclude_max=True), junk=st.binary(min_size=1, max_size=40))
def test_overwritten_bytes_lose_no_record_before_them(
    shape: str, share: float, junk: bytes
) -> None:
    content = SHAPES[shape]
    start = int(share * len(content))
    broken = content[:start] + junk + content[start + len(junk) :]
    read_records = records(broken)
    if shape in ("trail", "bare list", "one object per line"):
        record_count = whole_before(content, start)
        assert read_records[:record_count] == RECORDS[:record_count]


@examples(200)
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_of_a_gzip_file_is_damage_or_has_no_effect(share: float, bit: int) -> None:
    """Gzip checks neither the header nor the bits that fill the last byte of the data."""
    packed = bytearray(gzip.compress(TRAIL, mtime=0))
    packed[int(share * len(packed))] ^= 1 << bit
    assert damage(bytes(packed)) or records(bytes(packed)) == RECORDS


@given(
    st.binary(max_size=300)
    | st.text(alphabet='[]{},:"\\ \nRecordsEvnt0\x00', max_size=60).map(str.encode)
)
def test_no_bytes_make_the_reader_fail(data: bytes) -> None:
    assert isinstance(records(data), list)
    assert isinstance(records(gzip.compress(data) + data), list)


@pytest.mark.parametrize("data", [b" \n", b"\0" * 4096, gzip.compress(b"", mtime=0)])
def test_an_empty_file_is_damage(data: bytes) -> None:
    assert damage(data)


def test_zeros_that_a_crash_left_behind_the_last_record_are_damage() -> None:
    assert records(LINES + b"\0" * 4096) == RECORDS
    assert damage(LINES + b"\0" * 4096)


def test_buffered_data_of_a_truncated_gzip_file_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = b"\n".join([compact({"eventName": "Get", "x": "y" * 300}).encode()] * 40)
    packed = gzip.compress(plain)
    monkeypatch.setattr(record_blocks, "CHUNK", 16)
    for cut in range(10, len(packed)):
        record_count = zlib.decompressobj(wbits=31).decompress(packed[:cut]).count(b"}")
        assert len(records(packed[:cut])) == record_count, cut

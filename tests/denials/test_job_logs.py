"""Whole logs: every refusal, at its line, once; any bytes, however they arrive."""

import io
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from leastpriv.budget import LIMITS, Budget
from leastpriv.denials import job_logs
from leastpriv.denials.job_logs import LoggedDenial, distinct_denials, read_log, read_logs
from leastpriv.denials.log_text import clean_log_text
from leastpriv.models import Denial, DeniedBy
from tests.hypothesis_profiles import examples

WHO = "arn:aws:iam::123456789012:user/ci"
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:q"
SENTENCE = f"User: {WHO} is not authorized to perform: sqs:SendMessage on resource: {QUEUE}"


class Drip:
    """A stream that gives as few bytes at a time as it is told."""

    def __init__(self, data: bytes, size: int) -> None:
        self._stream, self._size = io.BytesIO(data), size

    def read(self, size: int, /) -> bytes:
        return self._stream.read(min(size, self._size))


def told(log: str | bytes) -> list[tuple[int, tuple[str, ...], str]]:
    content = log.encode() if isinstance(log, str) else log
    return [
        (logged_denial.line, logged_denial.denial.actions, logged_denial.denial.resource)
        for logged_denial in read_log(io.BytesIO(content), "log")
    ]


def test_a_denial_is_located_at_the_line_where_it_begins() -> None:
    log = (
        "start\n" * 5
        + f"Error: {SENTENCE}\n"
        + "more\n" * 3
        + f"\x1b[31m{SENTENCE} with an explicit deny\x1b[0m\n"
    )
    assert told(log) == [(6, ("sqs:SendMessage",), QUEUE), (10, ("sqs:SendMessage",), QUEUE)]


def test_lines_are_counted_over_the_chunks_of_a_long_log() -> None:
    filler = "nothing to see here\n" * 120_000
    assert told(filler + SENTENCE + "\n" + filler + SENTENCE) == [
        (120_001, ("sqs:SendMessage",), QUEUE),
        (240_002, ("sqs:SendMessage",), QUEUE),
    ]


def test_several_denials_in_one_line_are_found() -> None:
    second_sentence = SENTENCE.replace("sqs:SendMessage", "sqs:DeleteMessage")
    assert [
        actions
        for _, actions, _ in told(
            f"{SENTENCE}, {second_sentence} because no identity-based policy allows it"
        )
    ] == [
        ("sqs:SendMessage",),
        ("sqs:DeleteMessage",),
    ]


@pytest.mark.parametrize(
    "line",
    [
        f"{SENTENCE} because no identity-based policy allows the sqs:SendMessage action",
        "An error occurred (AccessDenied) when calling the PutObject operation: Access Denied",
    ],
)
def test_every_denial_of_a_dense_log_is_found_once_even_across_chunks(line: str) -> None:
    chunk = 1 << 20
    quiet = (chunk - 200_000) // 100
    dense = 300_000 // len(line)
    log = ("." * 99 + "\n") * quiet + f"{line}\n" * dense
    assert [number for number, _, _ in told(log)] == [*range(quiet + 1, quiet + dense + 1)]


BOX = """Error: creating SQS Queue (q): operation error SQS: SendMessage, api error
AccessDenied: User: {who} is
not authorized to perform: sqs:SendMessage on resource:
{queue} with an explicit deny
in a service control policy"""
OTHER_BOX = """Error: creating ECS Cluster (prod): operation error ECS: CreateCluster,
api error AccessDeniedException: User: {who}
is not authorized to perform: ecs:CreateCluster on resource:
arn:aws:ecs:eu-west-1:123456789012:cluster/prod because no
identity-based policy allows the ecs:CreateCluster action"""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("[queue] │ ", "[cluster] │ "),
        (
            "10:41:22.331 STDERR [queue] terraform: │ ",
            "10:41:22.874 STDERR [cluster] terraform: │ ",
        ),
        ("deploy-1  | ", "deploy-2  | "),
        ("@shop/queue:deploy: ", "@shop/cluster:deploy: "),
        ("#12 3.41 ", "#15 0.52 "),
    ],
)
def test_lines_of_tasks_that_run_at_the_same_time_are_not_joined(one: str, other: str) -> None:
    boxes = (
        [label + line for line in box.split("\n")]
        for label, box in ((one, BOX), (other, OTHER_BOX))
    )
    log = (
        "\n".join("\n".join(pair) for pair in zip(*boxes, strict=True))
        .replace("{who}", WHO)
        .replace("{queue}", QUEUE)
    )
    logged_denials = list(read_log(io.BytesIO(f"begin\n{log}\n".encode()), "log"))
    assert [
        (
            logged_denial.line,
            logged_denial.denial.actions,
            logged_denial.denial.resource,
            logged_denial.denial.denied_by,
        )
        for logged_denial in logged_denials
    ] == [
        (6, ("sqs:SendMessage",), QUEUE, DeniedBy.SCP),
        (
            7,
            ("ecs:CreateCluster",),
            "arn:aws:ecs:eu-west-1:123456789012:cluster/prod",
            DeniedBy.IDENTITY,
        ),
    ]


@pytest.mark.parametrize("seed", range(20))
def test_however_the_outputs_of_two_tasks_are_mixed_no_reason_is_that_of_the_other(
    seed: int,
) -> None:
    random_source = random.Random(seed)  # noqa: S311 - a repeatable choice
    boxes = [
        [f"[{task}] │ {line}" for line in box.split("\n")]
        for task, box in (("a", BOX), ("b", OTHER_BOX))
    ]
    mixed: list[str] = []
    while any(boxes):
        lines = random_source.choice([box_lines for box_lines in boxes if box_lines])
        mixed += [lines.pop(0) for _ in range(min(len(lines), random_source.choice((1, 1, 2, 3))))]
    log = "\n".join(mixed).replace("{who}", WHO).replace("{queue}", QUEUE)
    denials = {
        logged_denial.denial.actions: logged_denial.denial
        for logged_denial in read_log(io.BytesIO(log.encode()), "log")
    }
    assert [(denial.denied_by, denial.mendable) for _, denial in sorted(denials.items())] == [
        (DeniedBy.IDENTITY, True),
        (DeniedBy.SCP, False),
    ]


def test_the_first_line_of_a_log_says_what_the_tool_was_doing() -> None:
    refused = "An error occurred (AccessDenied) when calling the PutObject operation: Access Denied"
    command = "aws s3api put-object --bucket orders --key a"
    assert told(f"{command}\n{'x' * 40}\n{refused}\n") == [
        (3, ("s3:PutObject",), "arn:aws:s3:::orders/a")
    ]
    far = "\n".join([command, *["x" * 100] * 4, refused])
    padded = f"{'on resource: '}\n{'y' * 3_000}\n{far}"
    assert [resource for _, _, resource in told(padded)] == ["arn:aws:s3:::orders/a"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_a_log_of_powershell_is_read(encoding: str) -> None:
    assert told(f"a\n{SENTENCE}\n".encode(encoding)) == [(2, ("sqs:SendMessage",), QUEUE)]


def test_a_line_without_an_end_is_read_all_the_same() -> None:
    dark = "x" * 3_000_000
    assert told(f"{dark} {SENTENCE}, {dark}") == [(1, ("sqs:SendMessage",), QUEUE)]


@given(
    st.lists(
        st.sampled_from([SENTENCE, "text\n", "\n", "é", " because no session policy allows it\n"]),
        max_size=8,
    ),
    st.integers(1, 300),
)
def test_the_size_of_reads_does_not_matter(parts: list[str], size: int) -> None:
    content = ("".join(parts)).encode()
    assert list(read_log(Drip(content, size), "log")) == list(read_log(io.BytesIO(content), "log"))


@given(
    st.lists(
        st.sampled_from([SENTENCE.encode(), b"\xff", b"\x00", b"\n", b"not authorized to perform"])
        | st.binary()
    )
)
def test_no_bytes_make_the_reader_fail_or_leave_their_lines(parts: list[bytes]) -> None:
    content = b"".join(parts)
    for logged_denial in read_log(io.BytesIO(content), "log"):
        assert 1 <= logged_denial.line <= 1 + content.count(b"\n")


def logged(line: int, **fields: object) -> LoggedDenial:
    values: dict[str, object] = {
        "actions": ("sqs:SendMessage",),
        "resource": QUEUE,
        "principal": WHO,
        "denied_by": DeniedBy.UNKNOWN,
        "explicit": False,
        "mendable": True,
    }
    return LoggedDenial("log", line, Denial(**{**values, **fields}))  # type: ignore[arg-type]


def test_copies_are_merged_into_the_most_complete_one() -> None:
    distinct, limits = distinct_denials(
        [logged(1, principal=""), logged(2), logged(3, denied_by=DeniedBy.SCP, mendable=False)]
    )
    assert [
        (
            distinct_denial.line,
            distinct_denial.denial.denied_by,
            distinct_denial.denial.principal,
            distinct_denial.denial.mendable,
        )
        for distinct_denial in distinct
    ] == [(1, DeniedBy.SCP, WHO, False)]
    assert not limits


def test_different_denials_are_distinct() -> None:
    different = [
        logged(1, denied_by=DeniedBy.SCP),
        logged(2, denied_by=DeniedBy.IDENTITY),
        logged(3, resource=""),
        logged(4, actions=("sqs:DeleteQueue",)),
        logged(5, principal=WHO + "2", denied_by=DeniedBy.SCP),
    ]
    assert {distinct_denial.line for distinct_denial in distinct_denials(different)[0]} == {
        1,
        2,
        3,
        4,
        5,
    }


def test_a_forged_log_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_logs, "MOST_DISTINCT", 3)
    distinct, limit = distinct_denials(
        logged(line, resource=f"{QUEUE}{line}") for line in range(1, 9)
    )
    assert (len(distinct), limit) == (3, "3 distinct denials")


def test_copies_of_many_principals_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line is compared with the kept denials of its action and resource."""
    monkeypatch.setattr(job_logs, "MOST_COPIES", 3)
    many = [logged(line, principal=f"{WHO}{line}") for line in range(1, 9)]
    distinct, limit = distinct_denials([*many, logged(9, resource=f"{QUEUE}9")])
    assert [distinct_denial.line for distinct_denial in distinct] == [1, 2, 3, 9]
    assert limit == "3 denials of one action on one resource"


@pytest.mark.parametrize(
    ("limits", "limit"),
    [
        ({"characters": 100_000}, "100,000 characters"),
        ({"seconds": 4}, "4 seconds"),
    ],
)
def test_a_log_is_read_up_to_its_budget(limits: dict[str, int], limit: str) -> None:
    sentence = f"User: {WHO} is not authorized to perform: sqs:SendMessage on resource: {QUEUE}"
    log = "\n".join(f"{sentence}{number}" for number in range(2_000)).encode()
    budget = Budget(replace(LIMITS["log"], **limits), clock=partial(next, count()))
    distinct, exceeded = distinct_denials(read_log(io.BytesIO(log), "log", budget))
    assert 100 < len(distinct) < 2_000
    assert exceeded == limit


def test_logs_that_are_read_together_share_a_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(LIMITS["log"], files=3)
    monkeypatch.setattr(job_logs, "log_budget", lambda: Budget(small, clock=lambda: 0))
    for number in range(9):
        sentence = f"User: {WHO} is not authorized to perform: sqs:SendMessage on resource: {QUEUE}"
        (tmp_path / f"{number}.txt").write_text(f"{sentence}{number}\n")
    distinct, limit = distinct_denials(read_logs([str(tmp_path)], io.BytesIO()))
    assert (len(distinct), limit) == (3, "3 files")


def test_real_logs_have_exactly_the_distinct_denials_of_their_manifest(shared_folder: Path) -> None:
    """SAM's bare refusals name no bucket, so there the manifest's one resource is unknown."""
    folder = shared_folder / "corpus" / "logs"
    for log in json.loads((folder / "MANIFEST.json").read_text(encoding="utf-8")):
        with (folder / log["file"]).open("rb") as stream:
            distinct, _ = distinct_denials(read_log(stream, log["file"]))
        expected = Counter(
            {row["action"].split()[0]: max(1, row["resources"]) for row in log["distinct_denials"]}
        )
        assert (
            Counter(distinct_denial.denial.actions[0] for distinct_denial in distinct) == expected
        ), log["file"]
        resources = {
            distinct_denial.denial.resource
            for distinct_denial in distinct
            if distinct_denial.denial.resource
        }
        resource_count = sum(
            row["resources"] for row in log["distinct_denials"] if "only from" not in row["action"]
        )
        assert len(resources) == resource_count, log["file"]


MUTATIONS = [
    "",
    " ",
    "\n",
    "\x1b[0m",
    "│ ",
    '"',
    "\\n",
    "User: ",
    "not authorized to perform: ",
    " on resource: ",
    "***",
]


def mutated(lines: list[str], count: int, seed: int) -> bytes:
    random_source = random.Random(seed)  # noqa: S311 - a repeatable choice
    mutated_lines = []
    for _ in range(count):
        line = random_source.choice(lines)
        for _ in range(random_source.randrange(3)):
            position = random_source.randrange(len(line) + 1)
            line = (
                line[:position]
                + random_source.choice(MUTATIONS)
                + line[position + random_source.randrange(4) :]
            )
        mutated_lines.append(line)
    return "\n".join(mutated_lines).encode()


def lines_to_mutate(shared_folder: Path) -> list[str]:
    corpus = shared_folder / "corpus"
    messages = [
        json.loads(row)["message"]
        for row in (corpus / "refusals.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    logs = [file.read_text(encoding="utf-8") for file in sorted((corpus / "logs").glob("*.log"))]
    return [line for text in (*messages, *logs) for line in text.splitlines()]


def read_counting(data: bytes, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Refusals told, and characters that were read as text."""
    characters = 0

    def counting(raw: str) -> object:
        nonlocal characters
        characters += len(raw)
        return clean_log_text(raw)

    monkeypatch.setattr(job_logs, "clean_log_text", counting)
    # A log of refusals alone is more than the budget of a run's logs.
    limits = replace(LIMITS["log"], steps=len(data), characters=100 * len(data), seconds=3_600)
    logged_denials = read_log(io.BytesIO(data), "log", Budget(limits, time.thread_time))
    return sum(1 for _ in logged_denials), characters


@pytest.mark.parametrize("before", [b"", b"ok\n", b"x" * 5_000 + b"\n"])
def test_a_denial_in_the_line_before_its_word_is_found_even_at_the_start(before: bytes) -> None:
    log = (
        before + b"Error: error reading S3 Bucket (logs): Forbidden: Forbidden\n\tstatus code: 403,"
        b" request id: 1\n"
    )
    assert [
        (logged_denial.denial.actions, logged_denial.line)
        for logged_denial in read_log(io.BytesIO(log), "log")
    ] == [(("s3:ListBucket",), 1 + before.count(b"\n"))]


@examples(5)
@given(st.integers(0, 2**32))
def test_mutated_lines_are_read_without_a_crash(shared_folder: Path, seed: int) -> None:
    list(read_log(io.BytesIO(mutated(lines_to_mutate(shared_folder), 300, seed)), "log"))


@pytest.mark.slow
def test_a_million_mutated_lines_are_read_without_a_crash_and_in_proportion_to_their_length(
    shared_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = lines_to_mutate(shared_folder)
    for seed in range(20):
        content = mutated(lines, 50_000, seed)
        denial_count, characters = read_counting(content, monkeypatch)
        monkeypatch.undo()
        assert denial_count > 1_000
        assert characters < 7 * len(content)


def test_a_line_is_read_to_a_limit_and_the_next_line_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A line of 200 MB took four minutes."""
    monkeypatch.setattr(job_logs, "_LONGEST_LINE", 100_000)
    sentence = (
        "User: arn:aws:sts::111122223333:assumed-role/ci/1 is not authorized to perform: sqs:{}"
        " because no identity-based policy allows the sqs:{} action; "
    )
    reads: list[int] = []
    real = job_logs._read

    def counted(parts: tuple[bytes, bytes, bytes], name: str, line: int) -> Iterator[LoggedDenial]:
        reads.append(len(parts[1]))
        return real(parts, name, line)

    monkeypatch.setattr(job_logs, "_read", counted)
    text = (
        sentence.format("PurgeQueue", "PurgeQueue") * 20_000
        + "\n"
        + sentence.format("DeleteQueue", "DeleteQueue")
        + "\n"
    )
    distinct, _ = distinct_denials(read_log(io.BytesIO(text.encode()), "deploy"))
    assert [distinct_denial.denial.actions for distinct_denial in distinct] == [
        ("sqs:PurgeQueue",),
        ("sqs:DeleteQueue",),
    ]
    assert sum(reads) < 200_000 < len(text)


def test_an_encoded_message_belongs_to_its_own_denial_where_the_next_block_begins_between_two() -> (
    None
):
    line = b"a line of a tool's output, as most lines of a log are\n"
    encoded = (
        "You are not authorized to perform this operation. Encoded authorization failure message: "
        + "Ab1_-" * 40
    )
    bare = b"An error occurred (AccessDenied) when calling the PutObject operation: Access Denied\n"
    log = line * 300 + bare + line * 60 + encoded.encode() + b"\n" + line * 800

    first, second = (
        logged_denial.denial for logged_denial in read_log(io.BytesIO(log), "deploy.log")
    )

    assert (first.actions, first.encoded) == (("s3:PutObject",), "")
    assert (second.actions, second.encoded) == ((), "Ab1_-" * 40)


def test_a_denial_before_much_other_output_is_parsed_without_all_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = b"a line of a tool's output, as most lines of a log are\n"
    log = (
        b"An error occurred (AccessDenied) when calling the PutObject operation: Access Denied\n"
        + line * 1_000
    )

    denials, parsed = read_counting(log, monkeypatch)

    assert denials == 1
    assert parsed < 16_384

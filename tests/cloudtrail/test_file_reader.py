"""The fast reader tells what the simple one tells, of whole files and of damaged ones: calls, gaps
and figures.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

from leastpriv.aws.arns import Principals, Window, parse_principal
from leastpriv.cloudtrail import prefetch, record_blocks
from leastpriv.cloudtrail.file_store import StoredFile, region_of_path
from leastpriv.cloudtrail.local_store import LocalStore, TrailFolder
from leastpriv.cloudtrail.parts import PartFile
from leastpriv.cloudtrail.record_formats import unwrap
from leastpriv.cloudtrail.record_reader import ReadOptions
from leastpriv.evidence.parts import CountingProcess, FileCounter
from leastpriv.models import Call, Gap
from tests.cloudtrail.simple_reader import SimpleReader, read_values
from tests.fakes.counted import evidence_in
from tests.fakes.processes import has_ended
from tests.hypothesis_profiles import examples

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/deploy"
USER = f"arn:aws:iam::{ACCOUNT}:user/ops/jane"
ALWAYS = Window()
SOME_DAY = Window(datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC))
EVERYBODY = Principals()
ONE = Principals(frozenset({parse_principal(ROLE)}))
JANE = Principals(frozenset({parse_principal(USER)}))
TWO = Principals(frozenset({parse_principal(ROLE), parse_principal(USER)}))


def simply(folder: Path, window: Window, principals: Principals) -> SimpleReader:
    reader, store = SimpleReader(window, principals), LocalStore(folder, principals.accounts)
    for stored in store.list(window):
        reader.read(store.name_of(stored), region_of_path(stored.key), store.fetch(stored))
    assert not store.unlisted
    return reader


def compare(
    folder: Path, window: Window = ALWAYS, principals: Principals = EVERYBODY
) -> list[Call | Gap]:
    """Read a folder both ways and insist on the same; gives what was read."""
    simple, fast = simply(folder, window, principals), TrailFolder(folder)
    observations = list(fast.read(window, principals))
    assert observations == simple.items
    for name in fast.statistics.__slots__:
        assert getattr(fast.statistics, name) == getattr(simple.statistics, name), name
    return observations


def compare_calls(
    folder: Path, window: Window, principals: Principals, *, may_find_more: bool = False
) -> list[Call]:
    """Read a folder for the calls alone, passing over what holds no target, and insist on the
    simple reader's.

    `may_find_more`: a file ends early. The simple reader then drops all of it where any record is
    damaged, also one that holds no target.
    """
    calls = [
        observation
        for observation in TrailFolder(folder, survey=False).read(window, principals)
        if isinstance(observation, Call)
    ]
    simple = [
        observation
        for observation in simply(folder, window, principals).items
        if isinstance(observation, Call)
    ]
    if may_find_more:
        assert [call for call in calls if call in simple] == simple
    else:
        assert calls == simple
    return calls


def record(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "eventVersion": "1.08",
        "userIdentity": {
            "type": "AssumedRole",
            "principalId": "AROAX:s1",
            "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/deploy/s1",
            "accountId": ACCOUNT,
            "sessionContext": {"sessionIssuer": {"type": "Role", "arn": ROLE}},
        },
        "eventTime": f"2026-01-0{1 + number % 3}T08:{number % 60:02}:00Z",
        "eventSource": "s3.amazonaws.com",
        "eventName": f"Get{number}",
        "awsRegion": "eu-west-1",
        "requestParameters": {"bucketName": "b", "n": number},
        "eventID": f"id-{number}",
        "eventType": "AwsApiCall",
        "readOnly": True,
        "managementEvent": True,
        "recipientAccountId": ACCOUNT,
        **fields,
    }


def who(**fields: Any) -> dict[str, Any]:
    return {"userIdentity": fields}


def login(name: str, **caller: Any) -> dict[str, Any]:
    """A response of AWS STS with keys of the role, for a caller that is not the role."""
    keys = {"accessKeyId": "ASIAEXAMPLE000000001", "sessionToken": "hidden"}
    user = {"arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/deploy/s1"}
    return {
        **who(**caller), "eventSource": "sts.amazonaws.com", "eventName": name,
        "requestParameters": {"roleArn": ROLE, "roleSessionName": "s1"},
        "responseElements": {"credentials": keys, "assumedRoleUser": user, "provider": "p",
        "issuer": "i"},
    }  # fmt: skip


LINKED = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS"
FORGED = [{"x": 1}, record(7, eventName="Forged"), record(8, eventName="Forged")]
ODD: tuple[dict[str, Any], ...] = (
    {},
    who(type="AssumedRole", arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/other/s", accountId=ACCOUNT),
    who(type="IAMUser", arn=USER, accountId=ACCOUNT),
    who(type="IAMUser", userName="jane", accountId=int(ACCOUNT)),
    who(type="AWSService", invokedBy="ec2.amazonaws.com"),
    who(type="AssumedRole", sessionContext=[]),
    who(type="Role", arn=ROLE, sessionContext={"sessionCredentialFromConsole": "true"}),
    who(),
    {"userIdentity": None},
    {"userIdentity": "root"},
    {"eventTime": "2026-01-02 08:00:00"},
    {"eventTime": "2026-13-02T08:00:00Z"},
    {"eventTime": "2026-01-02T08+01:00:0"},
    {"eventTime": 1767340800},
    {"eventTime": None},
    {"eventName": None},
    {"eventName": "two words"},
    {"eventSource": 3},
    {"readOnly": "false", "managementEvent": "false"},
    {"eventType": "AwsServiceEvent"},
    {"eventType": None, "eventSource": "signin.amazonaws.com"},
    {"eventCategory": "Data", "readOnly": None},
    {"eventCategory": "Insight"},
    {"recipientAccountId": "", "awsRegion": "nowhere"},
    {"recipientAccountId": int(ACCOUNT)},
    {"recipientAccountId": "999999999999"},
    {"requestParameters": '{"key":"as text"}'},
    {"requestParameters": {"size": float("inf"), "id": 10**30, "small": -0.0}},
    {"requestParameters": {"é": "ü\ud800\t", "deep": [[[[{}]]]]}},
    {"requestParameters": FORGED},
    {"responseElements": {"Records": FORGED[1:]}},
    {"resources": [{"ARN": "arn:aws:s3:::b"}, {"arn": "arn:aws:s3:::b/k"}, "text"]},
    {"resources": "arn:aws:s3:::b"},
    {"errorCode": "AccessDenied", "errorMessage": "is not authorized to perform: s3:GetObject"},
    {"omitted": True},
    {"eventID": "id-1"},
    {"sessionCredentialFromConsole": True},
    {"detail": record(9), "eventName": None},
    login("AssumeRoleWithWebIdentity", type="WebIdentityUser", userName="repo:x"),
    login("AssumeRoleWithSAML", type="SAMLUser", userName="x"),
    login("AssumeRole", type="AWSService", invokedBy="ecs-tasks.amazonaws.com"),
    login("AssumeRole", type="AWSService", invokedBy="other.amazonaws.com"),
    login("AssumeRole", invokedBy="ecs-tasks.amazonaws.com"),
    login(
        "AssumeRole",
        type="AssumedRole",
        accountId=ACCOUNT,
        invokedBy="ecs-tasks.amazonaws.com",
        sessionContext={"sessionIssuer": {"type": "Role", "arn": LINKED}},
    ),
)


def compact(value: object, *, ascii_only: bool = False) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=ascii_only).encode(
        "utf-8", "surrogatepass"
    )


LAYOUTS = {
    "delivered": lambda records: compact({"Records": records}),
    "ascii": lambda records: compact({"Records": records}, ascii_only=True),
    "with blanks": lambda records: json.dumps({"Records": records}).encode(),
    "pretty": lambda records: json.dumps({"Records": records}, indent=1).encode(),
    "keys sorted": (
        lambda records: json.dumps(
            {"Records": records}, sort_keys=True, separators=(",", ":")
        ).encode()
    ),
    "lines": lambda records: b"\n".join(map(compact, records)),
    "twice": lambda records: (
        compact({"Records": records}) + b"\n" + compact({"Records": records[:1]})
    ),
    "member behind": lambda records: compact({"Records": records, "more": [1]}),
    "wrapped": lambda records: compact(
        {"Records": [{"detail": record_of_event} for record_of_event in records]}
    ),
}


def whole(text: bytes, _: int) -> bytes:
    return gzip.compress(text)


DAMAGES = {
    "whole": whole,
    "plain": lambda text, _: text,
    "members": lambda text, at: gzip.compress(text[:at]) + gzip.compress(text[at:]),
    "zeros behind": lambda text, at: gzip.compress(text) + bytes(at % 700),
    "cut": lambda text, at: gzip.compress(text)[: -1 - at % 90],
    "one byte changed in gzip": lambda text, at: changed(gzip.compress(text), at),
    "something behind": lambda text, _: gzip.compress(text) + b"more",
    "one byte changed": lambda text, at: gzip.compress(changed(text, at)),
    "text cut": lambda text, at: gzip.compress(text[: at % (len(text) + 1)]),
    "text missing": lambda text, at: gzip.compress(text[:at] + text[at + 40 :]),
}
UNSEEN_DAMAGE = ("one byte changed", "text cut", "text missing")
"""No checksum tells of it: whoever reads for the calls alone sees it only where a target is near.
"""


def changed(data: bytes, at: int) -> bytes:
    at %= len(data) or 1
    return data[:at] + bytes([data[at] ^ 0x15]) + data[at + 1 :]


@examples(120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    odd=st.lists(st.integers(0, len(ODD) - 1), min_size=1, max_size=12),
    plain=st.integers(0, 12),
    layout=st.sampled_from(sorted(LAYOUTS)),
    damage=st.sampled_from(sorted(DAMAGES)),
    at=st.integers(0, 6_000),
    piece=st.sampled_from([40, 300, 1_000, 64 * 1024]),
    longest=st.sampled_from([2_000, 1024 * 1024]),
    principals=st.sampled_from([EVERYBODY, ONE, TWO, JANE]),
    window=st.sampled_from([ALWAYS, SOME_DAY]),
)
@example([29], 3, "delivered", "whole", 0, 300, 2_000, ONE, ALWAYS)
@example([0, 3], 0, "ascii", "whole", 0, 40, 2_000, TWO, ALWAYS)
@example([2, 3], 0, "delivered", "whole", 0, 40, 2_000, JANE, ALWAYS)
@example([30, 0], 3, "ascii", "whole", 0, 300, 2_000, ONE, ALWAYS)
@example([2, 28], 0, "delivered", "cut", 0, 40, 2_000, JANE, ALWAYS)
@example(
    list(range(len(ODD) - 6, len(ODD))) * 2, 3, "ascii", "whole", 0, 64 * 1024, 2_000, ONE, ALWAYS
)
def test_every_file_is_read_as_the_simple_reader_reads_it(
    tmp_path_factory: pytest.TempPathFactory,
    odd: list[int],
    plain: int,
    layout: str,
    damage: str,
    at: int,
    piece: int,
    longest: int,
    principals: Principals,
    window: Window,
) -> None:
    records = [record(number) for number in range(plain)]
    for number, kind in enumerate(odd, start=plain):
        records.insert(at % (len(records) + 1), record(number, **ODD[kind]))
    folder = tmp_path_factory.mktemp("trail")
    path = folder / f"{ACCOUNT}_CloudTrail_eu-west-1_20260102T0800Z_a.json.gz"
    path.write_bytes(DAMAGES[damage](LAYOUTS[layout](records), at))
    (folder / "other.json").write_bytes(compact({"Records": [record(99)]}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_blocks, "PIECE", piece)
        patch.setattr(record_blocks, "_LONGEST_RECORD", longest)
        compare(folder, window, principals)
        if damage not in UNSEEN_DAMAGE:
            compare_calls(folder, window, principals, may_find_more=damage == "cut")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whole and damaged files, copies within and across them, odd records."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(60):
        odd = record(number, **ODD[number % len(ODD)])
        records = [record(record_number) for record_number in range(number, number + 12)]
        content = LAYOUTS["delivered"]([*records, odd, records[3]])
        name = f"{ACCOUNT}_CloudTrail_eu-west-1_20260102T00{number:02}Z_a.json.gz"
        (folder / name).write_bytes(list(DAMAGES.values())[number % len(DAMAGES)](content, number))
    return folder


def read_by(
    cores: int,
    folder: Path,
    principals: Principals,
    monkeypatch: pytest.MonkeyPatch,
    *,
    survey: bool,
) -> tuple[list[Gap | tuple[str, str]], Any]:
    monkeypatch.setattr(prefetch, "_cores", lambda: cores)
    monkeypatch.setattr(prefetch, "_WORTH_PROCESSES", 0)
    monkeypatch.setattr(prefetch, "_PART_BYTES", 1_500)
    monkeypatch.setattr(prefetch, "_PARTS_AHEAD", 3)
    source = TrailFolder(folder, survey=survey)
    observations = evidence_in(source, ALWAYS, principals, by_parts=cores > 1)
    return sorted(observations, key=repr), source.statistics


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The names of the files of each part that a process counted."""
    parts: list[list[str]] = []
    real = CountingProcess.count

    def note(self: Any, files: Sequence[PartFile], *copies: Any) -> Any:
        counted_records = real(self, files, *copies)
        if counted_records:
            parts.append([file.name for file in files])
        return counted_records

    monkeypatch.setattr(CountingProcess, "count", note)
    return parts


@pytest.mark.parametrize("principals", [ONE, TWO])
@pytest.mark.parametrize("survey", [False, True])
@pytest.mark.parametrize("most", [0, 900, 10**6])
def test_parts_that_processes_count_give_the_same_evidence(
    many: Path,
    counted: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    principals: Principals,
    survey: bool,
    most: int,
) -> None:
    """`most`: bytes beyond which a file is too large to be read ahead."""
    monkeypatch.setattr(prefetch, "_AHEAD_BYTES", most)
    alone = read_by(1, many, principals, monkeypatch, survey=survey)
    assert counted == []
    together = read_by(3, many, principals, monkeypatch, survey=survey)
    assert together == alone
    assert alone[1].calls > 60
    assert bool(counted) is bool(most)


ENCODED_DENIAL = {
    "eventSource": "ec2.amazonaws.com",
    "eventName": "RunInstances",
    "errorCode": "Client.UnauthorizedOperation",
    "errorMessage": "You are not authorized. Encoded authorization failure message: abcDEF123",
}


@pytest.mark.parametrize(
    "odd",
    [
        {"eventID": "a\ud800"},
        {"eventName": "A\ud800"},
        {**ENCODED_DENIAL, "requestParameters": {"a": "a\ud800"}},
        {**ENCODED_DENIAL, "requestParameters": {"a": 2**70}},
    ],
    ids=["event", "name", "text of an encoded denial", "number of an encoded denial"],
)
def test_what_has_no_encoding_ends_no_process(
    tmp_path: Path, counted: list[list[str]], monkeypatch: pytest.MonkeyPatch, odd: dict[str, Any]
) -> None:
    for number in range(8):
        records = [record(number), record(9, **odd)] if number == 2 else [record(number)]
        name = f"{ACCOUNT}_CloudTrail_eu-west-1_20260102T00{number:02}Z_a.json.gz"
        (tmp_path / name).write_bytes(gzip.compress(json.dumps({"Records": records}).encode()))
    alone = read_by(1, tmp_path, ONE, monkeypatch, survey=True)
    assert read_by(3, tmp_path, ONE, monkeypatch, survey=True) == alone
    # The first one is read before the processes start.
    assert sum(map(len, counted)) == 7


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="this system has no /proc")
def test_a_process_that_counts_gets_no_variable_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {
        "AWS_SECRET_ACCESS_KEY": "wJalr",
        "INPUT_GITHUB-TOKEN": "ghs_1",
        "PYTHONPATH": "/x",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    process = CountingProcess(ReadOptions(ALWAYS, ONE), None)
    try:
        # Its answer comes first: /proc shows no variables of a process that is still being started.
        part = process.count([])
        process_environment = Path(f"/proc/{process._process.pid}/environ").read_text()
    finally:
        process.close()
    assert "PATH=" in process_environment
    assert not [name for name in variables if name in process_environment]
    assert part is not None
    assert part.ids == []


@pytest.mark.parametrize("moment", ["at the start", "later"])
def test_files_are_read_without_the_processes_that_are_gone(
    many: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    alone = read_by(1, many, ONE, monkeypatch, survey=True)
    killed: list[int] = []
    real = CountingProcess.count

    def count(self: Any, files: Sequence[PartFile], *copies: Any) -> Any:
        is_late = any(file.name.endswith("T0030Z_a.json.gz") for file in files)
        if moment == "at the start" or is_late:
            self._process.kill()
            killed.append(self._process.pid)
        return real(self, files, *copies)

    monkeypatch.setattr(CountingProcess, "count", count)
    assert read_by(3, many, ONE, monkeypatch, survey=True) == alone
    assert killed


def test_where_no_process_can_be_started_files_are_read_without(
    many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = read_by(1, many, ONE, monkeypatch, survey=True)

    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError("Resource temporarily unavailable")

    monkeypatch.setattr("subprocess.Popen", refuse)
    assert read_by(3, many, ONE, monkeypatch, survey=True) == alone


READING = """
import sys, time
from pathlib import Path
from leastpriv.cloudtrail import prefetch
from leastpriv.cloudtrail.local_store import TrailFolder
from leastpriv.aws.arns import Principals, Window, parse_principal
from leastpriv.evidence.parts import CountingFiles
prefetch._cores, prefetch._WORTH_PROCESSES, prefetch._PARTS_AHEAD = lambda: 3, 0, 3
prefetch._PART_BYTES = 1_500
target = Principals(frozenset({parse_principal(sys.argv[2])}))
items = TrailFolder(Path(sys.argv[1])).read_parts(Window(), target, CountingFiles())
for number, _ in enumerate(items):
    if number == 40:
        print("reading", flush=True)
        time.sleep(60)
"""


@pytest.mark.skipif(not Path("/proc").exists(), reason="children are found by /proc")
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_is_left_however_reading_ends(many: Path, ending: signal.Signals) -> None:
    reading = subprocess.Popen(
        [sys.executable, "-c", READING, str(many), ROLE], stdout=subprocess.PIPE, text=True
    )
    assert reading.stdout
    assert reading.stdout.readline() == "reading\n"
    children: set[str] = set()
    assert until(lambda: bool(children.update(children_of(reading.pid)) or children))
    reading.send_signal(ending)
    reading.communicate(timeout=60)
    assert until(lambda: all(map(has_ended, children)))


def children_of(pid: int) -> set[str]:
    """Ids of the processes that one has started ("proc_pid_stat" of the Linux manual)."""
    child_ids = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if stat.read_text().rpartition(")")[2].split()[1] == str(pid):
                child_ids.add(stat.parent.name)
    return child_ids


def until(holds: Callable[[], bool]) -> bool:
    """Whether something holds within half a minute."""
    end = time.monotonic() + 30
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)
    return holds()


@pytest.mark.parametrize("damage", ["whole", "plain", "members", "zeros behind"])
def test_the_content_of_a_whole_file_is_hashed(damage: str) -> None:
    assert (
        hashed(damage) == hashlib.sha256(LAYOUTS["delivered"]([record(1), record(2)])).hexdigest()
    )


@pytest.mark.parametrize("damage", ["cut", "one byte changed in gzip", "something behind"])
def test_a_damaged_gzip_file_has_no_hash(damage: str) -> None:
    assert hashed(damage) == ""


def hashed(damage: str) -> str:
    damaged = DAMAGES[damage](LAYOUTS["delivered"]([record(1), record(2)]), 200)
    counter = FileCounter(ReadOptions(ALWAYS, ONE, hashes=True), None)
    return counter.count([PartFile("name", StoredFile("name", "", len(damaged)), damaged)]).sha256


def test_a_record_inside_a_record_is_no_call_of_the_target(tmp_path: Path) -> None:
    """A list of such records in somebody else's request looks, byte for byte, like the list of the
    file.
    """
    stranger = who(
        type="AssumedRole", arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/other/s", accountId=ACCOUNT
    )
    records = [record(1, **stranger, requestParameters={"list": FORGED}), record(2)]
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(compact({"Records": records})))
    assert [call.name for call in compare_calls(tmp_path, ALWAYS, ONE)] == ["Get2"]


@pytest.mark.parametrize("blank", [b"", b" "])
@pytest.mark.parametrize(
    "names", [["deploy"], ["deploy", "other"], [f"role-{number}" for number in range(40)]]
)
def test_calls_of_some_roles_are_found_among_those_of_others(
    tmp_path: Path, names: list[str], blank: bytes
) -> None:
    """A blank between records of a block moves those that follow it."""
    records = [
        record(
            number,
            **who(
                type="AssumedRole",
                arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/s",
                accountId=ACCOUNT,
            ),
        )
        for number, name in enumerate(
            ["stranger", "deploy", "other", "role-7", "role-39", "deploy", "stranger"]
        )
    ]
    text = compact({"Records": records}).replace(
        b'},{"eventVersion":', b"}," + blank + b'{"eventVersion":', 2
    )
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(text))
    targets = Principals(
        frozenset(parse_principal(f"arn:aws:iam::{ACCOUNT}:role/{name}") for name in names)
    )
    role_names = {
        call.principal.rpartition("/")[2] for call in compare_calls(tmp_path, ALWAYS, targets)
    }
    assert role_names == {"deploy", "other", "role-7", "role-39"} & set(names)


@pytest.mark.parametrize("others", [[], [ROLE], [ROLE, f"arn:aws:iam::{ACCOUNT}:user/anna"]])
def test_a_user_whom_a_record_gives_by_name_alone_is_found(
    tmp_path: Path, others: list[str]
) -> None:
    """Old records have no ARN, and so no slash before the name."""
    jane = who(type="IAMUser", userName="jane", accountId=ACCOUNT)
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(compact({"Records": [record(1, **jane)]})))
    blank = compact({"Records": [record(2, **jane)]}).replace(b'"userName":', b'"userName" : ')
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(blank))
    targets = Principals(frozenset(map(parse_principal, [USER, *others])))
    assert [call.name for call in compare_calls(tmp_path, ALWAYS, targets)] == ["Get1", "Get2"]


def test_what_holds_no_target_is_passed_over(tmp_path: Path) -> None:
    """The gain of reading for the calls alone: damage that only a look at every record would find
    is not found.
    """
    stranger = who(
        type="AssumedRole", arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/other/s", accountId=ACCOUNT
    )
    text = compact({"Records": [record(number, **stranger) for number in range(500)]})
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(changed(text, 4)[:-300] + text[-300:]))
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(text.replace(b'"Get3"', b'"Get3')))
    folder = TrailFolder(tmp_path, survey=False)
    assert [
        observation for observation in folder.read(ALWAYS, ONE) if isinstance(observation, Call)
    ] == []
    assert folder.statistics.records < 600


@pytest.mark.parametrize("layout", ["delivered", "pretty", "keys sorted"])
def test_public_records_are_read_as_the_simple_reader_reads_them(
    tmp_path: Path, shared_folder: Path, layout: str
) -> None:
    for source in sorted((shared_folder / "corpus" / "records").glob("*.jsonl.gz")):
        with source.open("rb") as file:
            records = [unwrapped for value in read_values(file) for unwrapped in unwrap(value)]
        (tmp_path / f"{source.name.removesuffix('.jsonl.gz')}.json.gz").write_bytes(
            gzip.compress(LAYOUTS[layout](records))
        )
    called = sorted(
        {
            observation.principal
            for observation in compare(tmp_path)
            if isinstance(observation, Call)
        }
    )
    account_arns = [arn for arn in called if re.fullmatch(r"\d{12}", arn.split(":")[4])]
    assert compare_calls(
        tmp_path,
        ALWAYS,
        Principals(frozenset(map(parse_principal, account_arns[:: len(account_arns) // 5]))),
    )


@pytest.mark.slow
def test_generated_logs_are_read_as_the_simple_reader_reads_them(
    tmp_path: Path, shared_folder: Path
) -> None:
    tool = shared_folder / "tools" / "gen_trail.py"
    if not tool.is_file():
        pytest.skip(f"the generator of logs is not at {tool}")
    options = ["--out", str(tmp_path), "--mb", "6", "--seed", "11", "--digest"]
    subprocess.run([sys.executable, str(tool), *options], check=True, capture_output=True)
    calls = [observation for observation in compare(tmp_path) if isinstance(observation, Call)]
    busiest = max({call.principal for call in calls}, key=[call.principal for call in calls].count)
    target = Principals(frozenset({parse_principal(busiest)}))
    window = Window(datetime(2026, 1, 8, tzinfo=UTC), datetime(2026, 1, 12, tzinfo=UTC))
    compare(tmp_path, window, target)
    assert (
        0
        < len(compare_calls(tmp_path, window, target))
        < len(compare_calls(tmp_path, ALWAYS, target))
    )

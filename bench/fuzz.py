"""Runs every parser of others' files on malformed inputs, for some minutes: `make fuzz`.

Seeds are valid files of the tests. Each input is a seed that is changed at random, joined with
hostile names and with what grows when it is read: references to itself, deep nesting, long numbers.
Anything but a result or the product's own error is a crash, and so is an input that takes more than
20 seconds of the processor or a gibibyte. The input is written to `.fuzz/`, and its number and
seed make it again.
"""

from __future__ import annotations

import gzip
import io
import json
import logging
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import zlib
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from leastpriv.aws.arns import Principals, Window, parse_principal
from leastpriv.cloudtrail.cache import ObjectCache
from leastpriv.cloudtrail.file_store import StoredFile
from leastpriv.cloudtrail.local_store import TrailFolder
from leastpriv.cloudtrail.record_reader import ReadOptions
from leastpriv.config.targets_file import read_configuration
from leastpriv.declared.declarations import read_stack
from leastpriv.declared.models import Place
from leastpriv.declared.plan import read_plan
from leastpriv.declared.resource_needs import needs_of as declared_needs
from leastpriv.denials.job_logs import distinct_denials, read_log
from leastpriv.denials.message import read_denial
from leastpriv.denials.needs import logged_needs
from leastpriv.errors import LeastprivError
from leastpriv.evidence.history_file import parse_history, serialize_history
from leastpriv.evidence.parts import FileCounter
from leastpriv.models import Call
from leastpriv.permissions.mapping import needs_of
from leastpriv.policy.containment import check_containment
from leastpriv.policy.document import parse
from tests.declared.test_plans import QUEUE, change, plan
from tests.fakes.deploys import NOW, POLICY, ROLE, usual_deploys
from tests.hostile.names import FIXED

ROOT = Path(__file__).resolve().parents[1]
MOST_SECONDS = 20
MOST_MEMORY = 2**30
"""Bytes above what the parsers themselves take."""
NAMES = [name for name in FIXED if len(name) < 300]
RECORDS = usual_deploys()
PLACE = Place("aws", "111122223333", "eu-west-1")
MESSAGES = [
    *(str(record["errorMessage"]) for record in RECORDS if "errorMessage" in record),
    (
        "User: arn:aws:iam::111122223333:user/ci is not authorized to perform: s3:PutObject on"
        ' resource: "arn:aws:s3:::b/k" with an explicit deny in a service control policy'
    ),
    "An error occurred (AccessDenied) when calling the CreateBucket operation: Access Denied",
    (
        "api error UnauthorizedOperation: You are not authorized to perform this operation. Encoded"
        " authorization failure message: aGVsbG8"
    ),
]
HCL = (ROOT / "tests/end_to_end/seed/apps/terraform/main.tf").read_text(encoding="utf-8")
HCL_POLICY = """locals {
  a = "s3"
  b = "${local.a}${local.a}"
}
data "aws_iam_policy_document" "d" {
  statement {
    actions   = ["${local.b}:Get*", format("%s:%s", local.a, "List")]
    resources = [for name in toset(["x", "y"]) : "arn:aws:s3:::${name}/*"]
  }
  dynamic "statement" {
    for_each = range(3)
    content {
      actions   = ["sqs:SendMessage"]
      resources = [join(":", ["arn:aws:sqs:eu-west-1:1", statement.value])]
    }
  }
}
"""
TEMPLATES = [
    (ROOT / path).read_text(encoding="utf-8")
    for path in (
        "tests/declared/order-pipeline.yaml",
        "tests/end_to_end/seed/apps/cloudformation/template.yaml",
        "tests/end_to_end/seed/apps/sam/template.yaml",
    )
]
YAML_POLICY = (
    "Resources:\n  P:\n    Type: AWS::IAM::Policy\n    Properties:\n      PolicyDocument:\n"
    "        Statement: [{Effect: Allow, Action: !Sub 's3:*', Resource: ['*']}]\n"
)
CONFIG = {
    "assume-role": "arn:aws:iam::{account}:role/leastpriv-reader",
    "targets": [{"role-arn": ROLE, "policy-file": "iam/ci.json", "keep": ["s3:*"]}],
}
GROWS = (
    '"${local.b}${local.b}"', "!Sub '${R}${R}'", "{Ref: R}", "!GetAtt R.Arn", "*" * 60, "[" * 200,
    "9" * 400, "1e999", "-0", "&a [*a, *a]", "<<: *a", "range(99999999)", "\\ud800", "\x00", "{{{",
    "Fn::ForEach::X: [A, [1, 2, 3], {R${A}: {Type: AWS::SQS::Queue}}]", "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00Z",
)  # fmt: skip
"""Pieces that make a reader repeat, nest or overflow."""

Work = Callable[[], object]


def changed(text: str, chance: random.Random) -> str:
    """The text with one to five changes: pieces removed, doubled, moved, replaced by names, by
    growing pieces or by any characters.
    """
    for _ in range(chance.randrange(1, 6)):
        start, end = sorted(chance.randrange(len(text) + 1) for _ in "ab")
        end = min(end, start + chance.choice((0, 1, 4, 40, 400)))
        piece = chance.choice((
            "", text[start:end] * 2, chance.choice(NAMES), chr(chance.randrange(0x3000)),
            chance.choice('{}[]":,\\\n'), chance.choice(GROWS), chance.choice(GROWS),
            json.dumps(chance.choice(NAMES)), "null", "-" * chance.randrange(60),
        ))  # fmt: skip
        text = text[:start] + piece + text[end:]
    return text


def changed_bytes(text: str, chance: random.Random) -> bytes:
    """A changed text in UTF-8, sometimes with a byte that is none."""
    content = bytearray(changed(text, chance).encode("utf-8", "surrogatepass"))
    if chance.random() < 0.1 and content:
        content[chance.randrange(len(content))] = chance.randrange(256)
    return bytes(content)


def a_trail(chance: random.Random) -> tuple[bytes, Work]:
    """A trail's file, an export of a log group, or a table of Logs Insights."""
    records = [json.dumps(chance.choice(RECORDS)) for _ in range(chance.randrange(1, 4))]
    form = chance.choice(("trail", "lines", "export", "table"))
    if form == "trail":
        text = f'{{"Records":[{",".join(records)}]}}'
    elif form == "lines":
        text = "\n".join(records)
    elif form == "export":
        text = "\n".join(f"2026-11-03T09:15:00.000Z {record}" for record in records)
    else:
        rows = ('"' + record.replace('"', '""') + '"' for record in records)
        text = "@timestamp,@message\n" + "\n".join(f"2026-11-03,{row}" for row in rows)
    content = changed_bytes(text, chance)
    if chance.random() < 0.1:
        packed = bytearray(gzip.compress(content, 1))
        packed[chance.randrange(len(packed))] = chance.randrange(256)
        content = bytes(packed)
    return content, lambda: _read_trail(content)


def _read_trail(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a.json").write_bytes(content)
        principals = Principals(frozenset({parse_principal(ROLE)}))
        for fact in TrailFolder(Path(folder)).read(Window(), principals):
            if isinstance(fact, Call):
                needs_of(fact)


def a_message(chance: random.Random) -> tuple[bytes, Work]:
    """An error message."""
    text = changed(chance.choice(MESSAGES), chance)
    return text.encode("utf-8", "surrogatepass"), lambda: logged_needs(read_denial(text), ROLE)


def a_log(chance: random.Random) -> tuple[bytes, Work]:
    """Some lines of a job's log."""
    lines = [chance.choice((*MESSAGES, *NAMES, *GROWS)) for _ in range(chance.randrange(1, 30))]
    content = changed_bytes("\n".join(lines), chance)
    return content, lambda: distinct_denials(read_log(io.BytesIO(content), "log"))


def a_policy(chance: random.Random) -> tuple[bytes, Work]:
    """A policy file, which is written again and compared with the valid one."""
    kind = chance.choice(("p.json", "p.json", "t.yaml", "m.tf"))
    text = {
        "p.json": json.dumps(POLICY, indent=chance.choice((None, 2))),
        "t.yaml": YAML_POLICY,
        "m.tf": chance.choice((HCL_POLICY, HCL)),
    }[kind]
    content = changed_bytes(text, chance)
    return content, lambda: _read_policy(content, kind)


def _read_policy(content: bytes, kind: str) -> None:
    document = parse(content, kind)
    document.to_bytes()
    check_containment([document], [VALID])
    check_containment([VALID], [document])


VALID = parse(json.dumps(POLICY).encode(), "valid.json")


def a_template(chance: random.Random) -> tuple[bytes, Work]:
    """A CloudFormation or SAM template, and what its deployment needs."""
    content = changed_bytes(chance.choice(TEMPLATES), chance)

    def work() -> None:
        declaration = read_stack("shop=t.yaml", {"t.yaml": content}.get, PLACE)
        declared_needs(declaration, PLACE)

    return content, work


def a_plan(chance: random.Random) -> tuple[bytes, Work]:
    """A plan of Terraform, and what its apply needs."""
    function = {
        "address": "aws_lambda_function.main",
        "expressions": {"role": {"references": ["aws_iam_role.main.arn", "aws_iam_role.main"]}},
    }
    valid = plan(
        change("aws_sqs_queue", ["create"], QUEUE),
        change("aws_iam_role", ["create"], {"name": "worker", "path": "/"}, arn=True),
        change("aws_lambda_function", ["create"], {"function_name": "w"}, role=True, arn=True),
        configuration={"resources": [function]},
    )
    content = changed_bytes(valid.decode(), chance)
    return content, lambda: declared_needs(read_plan(content, "plan.json"), PLACE)


def a_memory(chance: random.Random) -> tuple[bytes, Work]:
    """A memory file, which is written again."""
    row = {
        "first": "2026-10-01",
        "last": "2026-11-01",
        "runs": {"2026-10": 3},
        "run": "17650000001",
    }
    history = {
        "leastpriv-memory": 1,
        "principal": ROLE,
        "used": {"s3:GetObject": {"arn:aws:s3:::assets/*": row}},
        "words": {"sqs:*": {"at": "2026-11-01", "comment": 1, "word": "keep", "by": "kim"}},
        "declined": {"12": {"at": "2026-11-01", "changes": ["remove s3:GetObject"]}},
    }
    content = changed_bytes(json.dumps(history), chance)

    def work() -> None:
        memory, _ = parse_history(content, ROLE, NOW)
        serialize_history(memory)

    return content, work


def a_config(chance: random.Random) -> tuple[bytes, Work]:
    """A config of several targets."""
    content = changed_bytes(json.dumps(CONFIG, indent=2), chance)
    return content, lambda: read_configuration(content, "leastpriv.yml")


def a_cache(chance: random.Random) -> tuple[bytes, Work]:
    """A row of the cache that another program changed, or a damaged database."""
    stored = StoredFile("a", "1", 1)
    in_row = chance.random() < 0.7
    seed = chance.random()

    def work() -> None:
        repeatable = random.Random(seed)  # noqa: S311 - to be the same each time
        with tempfile.TemporaryDirectory() as folder:
            principals = Principals(frozenset({parse_principal(ROLE)}))
            cache = ObjectCache(Path(folder), "b", principals)
            options = ReadOptions(Window(), principals)
            cache.put(stored, FileCounter(options, None).count([]))
            cache.close()
            (path,) = Path(folder).glob("*.sqlite")
            if in_row:
                _change_row(path, repeatable)
            else:
                content = bytearray(path.read_bytes())
                for _ in range(repeatable.randrange(1, 20)):
                    content[repeatable.randrange(len(content))] = repeatable.randrange(256)
                path.write_bytes(bytes(content))
            again = ObjectCache(Path(folder), "b", principals)
            again.get(stored)
            again.close()

    return b"", work


def _change_row(path: Path, chance: random.Random) -> None:
    import sqlite3

    database = sqlite3.connect(path)
    (content,) = database.execute("SELECT content FROM objects").fetchone()
    plain = bytearray(zlib.decompress(content))
    for _ in range(chance.randrange(1, 8)):
        plain[chance.randrange(len(plain))] = chance.randrange(256)
    database.execute("UPDATE objects SET content = ?", (zlib.compress(bytes(plain)),))
    database.commit()
    database.close()


KINDS: Mapping[str, Callable[[random.Random], tuple[bytes, Work]]] = {
    "trail": a_trail,
    "message": a_message,
    "log": a_log,
    "policy": a_policy,
    "template": a_template,
    "plan": a_plan,
    "memory": a_memory,
    "config": a_config,
    "cache": a_cache,
}


class TooSlowError(Exception):
    """An input took more than `MOST_SECONDS` of the processor."""


@contextmanager
def limited_time() -> Iterator[None]:
    """Raises TooSlowError inside the block after `MOST_SECONDS` of the processor."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, MOST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@dataclass
class Fuzzing:
    """The inputs so far, and what became of them."""

    seed: int
    folder: Path
    counts: Counter[str] = field(default_factory=Counter)
    crashes: Counter[str] = field(default_factory=Counter)
    """By kind, exception and place."""
    slowest: float = 0.0

    def try_one(self, kind: str, number: int) -> None:
        """Makes one input and reads it."""
        chance = random.Random(f"{self.seed}/{kind}/{number}")  # noqa: S311 - to be the same each time
        content, work = KINDS[kind](chance)
        started = time.process_time()
        try:
            with limited_time():
                work()
            self.counts[f"{kind}: read"] += 1
        except LeastprivError:
            self.counts[f"{kind}: refused with a sentence"] += 1
        except Exception as error:
            self._note(kind, number, content, error)
        self.slowest = max(self.slowest, time.process_time() - started)

    def _note(self, kind: str, number: int, content: bytes, error: Exception) -> None:
        last = traceback.extract_tb(error.__traceback__)[-1]
        name = f"{kind}: {type(error).__name__} in {Path(last.filename).name}:{last.lineno}"
        self.crashes[name] += 1
        if self.crashes[name] > 1:
            return
        self.folder.mkdir(exist_ok=True)
        path = self.folder / f"{kind}-{self.seed}-{number}"
        path.write_bytes(content)
        print(f"{name}, input {number} of seed {self.seed}, in {path}", flush=True)
        traceback.print_exception(error, limit=-6)

    def report(self) -> str:
        """One line for each result."""
        lines = [f"{count:>9,}  {name}" for name, count in sorted(self.counts.items())]
        lines += [f"{count:>9,}  CRASH {name}" for name, count in self.crashes.most_common()]
        return "\n".join([*lines, f"The slowest input took {self.slowest:.1f} s."])


def main(arguments: list[str]) -> int:
    """Prints the number of each result; 1 after any crash."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="of the processor (default: 10)"
    )
    parser.add_argument("--seed", type=int, default=datetime.now(UTC).toordinal())
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="default: all")
    parser.add_argument("--number", type=int, help="one input again")
    options = parser.parse_args(arguments)
    kinds = options.kind or list(KINDS)
    fuzzing = Fuzzing(options.seed, ROOT / ".fuzz")
    # The translator of SAM warns of each template that it leaves, and the reader of YAML of anchors.
    logging.disable()
    logging.captureWarnings(True)
    memory_at_start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    resource.setrlimit(
        resource.RLIMIT_AS, (memory_at_start + 2 * MOST_MEMORY, resource.RLIM_INFINITY)
    )
    number = options.number or 0
    with suppress(KeyboardInterrupt):
        while time.process_time() < 60 * options.minutes:
            for kind in kinds:
                fuzzing.try_one(kind, number)
            number += 1
            if options.number is not None:
                break
    print(fuzzing.report())
    return 1 if fuzzing.crashes else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

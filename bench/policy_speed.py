"""Measures evaluation and containment: `python -m bench.policy_speed [FOLDER_OF_POLICIES]`.

Prints the time to evaluate 10,000 calls against a policy of 30 statements, each call on another
resource, and to compare two policies of about 6 kB: one narrowed from the other, and one that
grants more. Also of hostile patterns, which have to end in "cannot tell". With a folder: the
slowest comparison of each policy in it with itself and with its neighbour. Needs the package
installed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.measure import Stopwatch
from leastpriv.errors import PolicyFileError
from leastpriv.policy.containment import Containment, check_containment
from leastpriv.policy.document import Document, parse
from leastpriv.policy.evaluate import Request, evaluate, policy_size

ACCOUNT = "eu-west-1:111122223333"
SERVICES = ("s3", "sqs", "sns", "lambda", "dynamodb", "logs", "ecr", "ecs", "kms", "iam")
CALLS = 10_000
RUNS = 5


def document(statements: list[Mapping[str, object]]) -> Document:
    """Make a policy of version 2012-10-17."""
    return parse(json.dumps({"Version": "2012-10-17", "Statement": statements}).encode(), "policy")


def allow(actions: list[str], resources: list[str]) -> dict[str, object]:
    """Make a statement."""
    return {"Effect": "Allow", "Action": actions, "Resource": resources}


def policy(verbs: tuple[str, ...]) -> Document:
    """Make 30 statements: three per service, one of them under a condition; the last is a Deny."""
    regions = {"StringEquals": {"aws:RequestedRegion": ["eu-west-1", "eu-central-1"]}}
    statements: list[Mapping[str, object]] = []
    for service in SERVICES:
        for number in range(3):
            statement = allow(
                [f"{service}:{verb}Queue{number}" for verb in verbs],
                [f"arn:aws:{service}:{ACCOUNT}:queue/orders-{number}-0-*"],
            )
            if number == 2:
                statement["Condition"] = regions
            statements.append(statement)
    statements[-1] = {
        "Effect": "Deny",
        "Action": "iam:Delete*",
        "Resource": "arn:aws:iam:*:*:queue/orders-*",
    }
    return document(statements)


def best(work: Callable[[], object]) -> float:
    """Time some work; the best of several runs, in seconds."""
    times = []
    for _ in range(RUNS):
        stopwatch = Stopwatch()
        work()
        times.append(stopwatch.elapsed)
    return min(times)


def calls() -> list[Request]:
    """Make calls of all services, each on another resource, half of them with the key of a
    condition.
    """
    context = {"aws:RequestedRegion": ("eu-west-1",), "aws:PrincipalAccount": ("111122223333",)}
    return [
        Request(
            f"{SERVICES[number % 10]}:GetQueue{number % 3}",
            f"arn:aws:{SERVICES[number % 10]}:{ACCOUNT}:queue/orders-{number % 3}-0-{number}",
            context if number % 2 else {},
        )
        for number in range(CALLS)
    ]


def summary(answer: Containment) -> str:
    """Print the result."""
    smallest = answer.smallest
    if smallest is None:
        return "contained"
    if smallest.witness:
        return f"{len(answer.excesses)} in excess"
    return f"not decided: {smallest.reason}"


def main(arguments: list[str]) -> int:
    """Print the figures."""
    committed = policy(("Create", "Get", "Put", "Delete"))
    requests = calls()
    stopwatch = Stopwatch()
    for request in requests:
        evaluate(request, [committed])
    print(
        f"{CALLS:,} calls against {len(committed.statements)} statements: {stopwatch.elapsed:.3f} s"
    )
    narrow = policy(("Create", "Get"))
    wide = policy(("Create", "Get", "Put", "*"))
    star = document([allow([f"{service}:*" for service in SERVICES], ["*"])])
    hostile = document([allow(["s3:*"], [f"*{'a*' * (5 + n % 7)}b{n}" for n in range(300)])])
    other = document([allow(["s3:*"], [f"*{'a*' * (4 + n % 5)}c{n}*" for n in range(300)])])
    print_comparison("narrowed", committed, narrow)
    print_comparison("more granted", committed, wide)
    print_comparison("everything granted", committed, star)
    print_comparison("narrowed from everything", star, committed)
    print_comparison("hostile", hostile, other)
    if arguments:
        print(corpus(Path(arguments[0])))
    return 0


def print_comparison(name: str, old: Document, new: Document) -> None:
    """Compare two policies, and print the sizes, the time and the result."""
    answer = check_containment([old], [new])
    seconds = best(lambda: check_containment([old], [new]))
    print(
        f"{name}: {policy_size(old):,} and {policy_size(new):,} bytes: {1e3 * seconds:.1f} ms,"
        f" {summary(answer)}"
    )


def corpus(folder: Path) -> str:
    """Compare each policy of a folder with itself and the next one."""
    documents: list[Document] = []
    for path in sorted(folder.rglob("*.json")):
        try:
            documents.append(parse(path.read_bytes(), path.name))
        except PolicyFileError:
            continue
    slowest = 0.0
    where = ""
    for document, neighbour in zip(documents, documents[1:] + documents[:1], strict=True):
        for old, new in ((document, document), (document, neighbour)):
            stopwatch = Stopwatch()
            answer = check_containment([old], [new])
            seconds = stopwatch.elapsed
            if old is new and not answer.holds:
                print(f"{old.where} is not contained in itself: {summary(answer)}")
            if seconds > slowest:
                slowest = seconds
                where = f"{old.where} and {new.where}, {summary(answer)}"
    return f"{len(documents)} policies, slowest comparison {1e3 * slowest:.1f} ms: {where}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Measures evaluation and containment: `python bench/policy_speed.py [FOLDER_OF_POLICIES]`.

Prints the time to evaluate 10,000 calls against a policy of 30 statements, each call on another
resource, and to compare two policies of about 6 kB: one narrowed from the other, and one that
grants more. Also of hostile patterns, which have to end in "cannot tell". With a folder: the
slowest comparison of each policy in it with itself and with its neighbour. Needs the package
installed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

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


def policy(verbs: tuple[str, ...], resources: int, deny: bool = True) -> Document:
    """Make 30 statements: three per service, one of them under a condition; and one Deny of
    some.
    """
    made: list[Mapping[str, object]] = []
    for service in SERVICES:
        for number in range(3):
            allow: dict[str, object] = {
                "Effect": "Allow",
                "Action": [f"{service}:{verb}Thing{number}" for verb in verbs],
                "Resource": [
                    f"arn:aws:{service}:{ACCOUNT}:thing/orders-{number}-{place}-*"
                    for place in range(resources)
                ],
            }
            if number == 2:
                allow["Condition"] = {
                    "StringEquals": {"aws:RequestedRegion": ["eu-west-1", "eu-central-1"]}
                }
            made.append(allow)
    if deny:
        made[-1] = {
            "Effect": "Deny",
            "Action": "iam:Delete*",
            "Resource": "arn:aws:iam:*:*:thing/orders-*",
        }
    return document(made)


def best(work: Callable[[], object]) -> float:
    """Time some work; the best of several runs, in seconds."""
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def calls() -> list[Request]:
    """Make calls of all services, each on another resource, half of them with the key of a
    condition.
    """
    context = {"aws:RequestedRegion": ("eu-west-1",), "aws:PrincipalAccount": ("111122223333",)}
    return [
        Request(
            f"{SERVICES[number % 10]}:GetThing{number % 3}",
            f"arn:aws:{SERVICES[number % 10]}:{ACCOUNT}:thing/orders-{number % 3}-0-{number}",
            context if number % 2 else {},
        )
        for number in range(CALLS)
    ]


def summary(answer: Containment) -> str:
    """Print the result."""
    smallest = answer.smallest
    if smallest is None:
        return "contained"
    return (
        f"{len(answer.excesses)} in excess"
        if smallest.witness
        else f"cannot tell: {smallest.reason}"
    )


def main(arguments: list[str]) -> int:
    """Print the figures."""
    thirty, asked = policy(("Create", "Get", "Put", "Delete"), 1), calls()
    first = time.perf_counter()
    for request in asked:
        evaluate(request, [thirty])
    print(
        f"{CALLS:,} calls against {len(thirty.statements)} statements:"
        f" {time.perf_counter() - first:.3f} s"
    )
    old, new = policy(("Create", "Get", "Put", "Delete"), 1), policy(("Create", "Get"), 1)
    wide = policy(("Create", "Get", "Put", "*"), 1)
    star = document(
        [{"Effect": "Allow", "Action": [f"{service}:*" for service in SERVICES], "Resource": "*"}]
    )
    hostile = document(
        [
            {
                "Effect": "Allow",
                "Action": "s3:*",
                "Resource": [f"*{'a*' * (5 + n % 7)}b{n}" for n in range(300)],
            }
        ]
    )
    other = document(
        [
            {
                "Effect": "Allow",
                "Action": "s3:*",
                "Resource": [f"*{'a*' * (4 + n % 5)}c{n}*" for n in range(300)],
            }
        ]
    )
    for name, one, two in (
        ("narrowed", old, new),
        ("more granted", old, wide),
        ("everything granted", old, star),
        ("narrowed from everything", star, old),
        ("hostile", hostile, other),
    ):
        answer = check_containment([one], [two])
        seconds = best(lambda one=one, two=two: check_containment([one], [two]))  # type: ignore[misc]
        print(
            f"{name}: {policy_size(one):,} and {policy_size(two):,} bytes: {1e3 * seconds:.1f} ms,"
            f" {summary(answer)}"
        )
    if arguments:
        print(corpus(Path(arguments[0])))
    return 0


def corpus(folder: Path) -> str:
    """Compare each policy of a folder with itself and the next one."""
    documents: list[Document] = []
    for path in sorted(folder.rglob("*.json")):
        try:
            documents.append(parse(path.read_bytes(), path.name))
        except PolicyFileError:
            continue
    slowest, where = 0.0, ""
    for one, two in zip(documents, documents[1:] + documents[:1], strict=True):
        for old, new in ((one, one), (one, two)):
            started = time.perf_counter()
            answer = check_containment([old], [new])
            seconds = time.perf_counter() - started
            if old is new and not answer.holds:
                print(f"{old.where} is not contained in itself: {summary(answer)}")
            if seconds > slowest:
                slowest, where = seconds, f"{old.where} and {new.where}, {summary(answer)}"
    return f"{len(documents)} policies, slowest comparison {1e3 * slowest:.1f} ms: {where}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

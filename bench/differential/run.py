"""Compares the evaluator with another one: `python -m bench.differential.run [PAIRS] [SEED]`.

Makes random policies and requests, asks both, and counts the differences; those of `known.tsv` are
explained, if both agree once the statements that they are about are left out. Installs npm
`@cloud-copilot/iam-simulate` (AGPL-3.0: a test oracle, never bundled) into a temporary folder;
needs node and npm. Exit code 1: a difference is unexplained.
"""

from __future__ import annotations

import csv
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leastpriv.policy.access import Policies, evaluate_access
from leastpriv.policy.document import parse
from leastpriv.policy.evaluate import Request

VERSION = "0.1.173"
PAIRS = 20_000
NOT_HERE = 77
"""Exit code if npm or the package is not available, as for a skipped test in automake."""
HERE = Path(__file__).resolve().parent

SAME = {
    "allowed": "Allowed",
    "implicitDeny": "ImplicitlyDenied",
    "explicitDeny": "ExplicitlyDenied",
}
EPOCH = "1795478400"
"""2026-11-24T00:00:00Z."""
NO_ZONE = "2026-11-24T00:00:00"
MICROSECOND = "2026-11-24T00:00:00.000001Z"
ACTIONS = ("s3:GetObject", "s3:PutObject", "s3:ListBucket", "sqs:SendMessage", "sns:Publish")
ACTION_ENTRIES = (
    *ACTIONS,
    "s3:*",
    "S3:get*",
    "*",
    "s?s:*",
    "*:*",
    "s3:*Object",
    "sns:P?blish",
    "iam:PassRole",
)
RESOURCES = (
    "arn:aws:s3:::logs/a/b.txt",
    "arn:aws:s3:::logs/ci/b.txt",
    "arn:aws:s3:::logs",
    "arn:aws:sqs:eu-west-1:111122223333:orders",
    "arn:aws:sns:eu-west-1:111122223333:orders:sub",
)
RESOURCE_ENTRIES = (
    *RESOURCES,
    "*",
    "arn:aws:s3:::logs/*",
    "arn:aws:s3:::logs/?/b.*",
    "arn:aws:s3:::LOGS/*",
    "arn:*:s3:::*",
    "arn:aws:sqs:*:111122223333:o*s",
    "arn:aws:*:eu-west-1:*:orders*",
    "arn:aws:s3:::logs/${aws:username}/*",
    "arn:aws:s3:::logs/${aws:PrincipalTag/team, 'a'}/b.txt",
    "arn:aws:s3:::logs/a/b${*}",
)
VARIABLES = ("${aws:username}", "${aws:PrincipalTag/team, 'a'}", "${aws:TagKeys, 'a'}")
STRINGS = ("ci", "CI", "a", "main*", "main-1", "c?", "*", *VARIABLES, "${*}")
TYPES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "String": (
        ("Equals", "NotEquals", "EqualsIgnoreCase", "NotEqualsIgnoreCase", "Like", "NotLike"),
        STRINGS,
        ("ci", "CI", "a", "main-1", "main*", "", "*"),
    ),
    "Numeric": (
        ("Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals"),
        ("10", "2.5", "-3", "10.0", "1e1", "ten"),
        ("10", "2.5", "-3", "9", "1e1", "10.", "x"),
    ),
    "Date": (
        ("Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals"),
        ("2026-11-24T00:00:00Z", "2026-11-24T02:00:00+01:00", "2026-11-24", NO_ZONE, EPOCH, "soon"),
        (
            "2026-11-24T00:00:00Z",
            "2026-11-24T01:00:00Z",
            "2026-11-23T12:30:00.5Z",
            NO_ZONE,
            MICROSECOND,
            EPOCH,
            "x",
        ),
    ),
    "Bool": (("",), ("true", "false", "True", "yes"), ("true", "false", "TRUE", "no", "")),
    "Binary": (("Equals",), ("QUJD", "AAEC", "YQ=="), ("QUJD", "AAEC", "YQ==", "YR==")),
    "Ip": (
        ("Address", "NotAddress"),
        ("203.0.113.0/24", "203.0.113.7", "2001:db8::/32", "0.0.0.0/0", "x"),
        ("203.0.113.7", "203.000.113.7", "203.0.114.1", "2001:db8::1", "2001:db9::1", "x"),
    ),
    "Arn": (
        ("Equals", "Like", "NotEquals", "NotLike"),
        (
            "arn:aws:iam::*:role/*",
            "arn:aws:iam::1:role/${aws:username}",
            "arn:*:*:*:*:*",
            "arn:aws:iam::1:role/c?",
            "x",
        ),
        ("arn:aws:iam::1:role/ci", "arn:aws:iam::2:role/a/b", "arn:aws:sns:eu-west-1:1:a:b", "x"),
    ),
}
"""Prefix of a name -> operators, values of a policy, values of a request."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Policies and a request, as JSON."""

    policies: tuple[Mapping[str, Any], ...]
    boundary: Mapping[str, Any] | None
    request: Mapping[str, Any]


def operator(kind: str, name: str) -> str:
    """Name an operator: addresses have `Not` before their type."""
    return "NotIpAddress" if kind + name == "IpNotAddress" else kind + name


class Maker:
    """Makes random pairs."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311

    def some(self, choices: Sequence[str], most: int) -> list[str]:
        """Choose one or several."""
        return [self.random.choice(choices) for _ in range(self.random.randint(1, most))]

    def condition(self) -> dict[str, dict[str, list[str]]]:
        """Make a block of one or two conditions."""
        block: dict[str, dict[str, list[str]]] = {}
        for _ in range(self.random.choice((1, 1, 2))):
            kind = self.random.choice(tuple(TYPES))
            names, values, _ = TYPES[kind]
            if self.random.random() < 0.1:
                block.setdefault("Null", {})[f"test:{kind}"] = [
                    self.random.choice(("true", "false", "yes"))
                ]
                continue
            name = operator(kind, self.random.choice(names))
            quantifier = self.random.choice(("", "", "ForAllValues:", "ForAnyValue:"))
            suffix = self.random.choice(("", "", "IfExists"))
            # A key of several values comes with a quantifier, most of the time.
            chance_of_several = 0.8 if quantifier else 0.05
            has_several = self.random.random() < chance_of_several
            key = f"test:{kind}s" if has_several else f"test:{kind}"
            block.setdefault(quantifier + name + suffix, {})[key] = self.some(values, 2)
        return block

    def statement(self) -> dict[str, Any]:
        """Make one statement."""
        chance = self.random.random
        statement: dict[str, Any] = {
            "Effect": "Deny" if chance() < 0.3 else "Allow",
            "NotAction" if chance() < 0.15 else "Action": self.some(ACTION_ENTRIES, 3),
            "NotResource" if chance() < 0.15 else "Resource": self.some(RESOURCE_ENTRIES, 3),
        }
        return {**statement, "Condition": self.condition()} if chance() < 0.7 else statement

    def policy(self) -> dict[str, Any]:
        """Make a policy of some statements."""
        version = "2008-10-17" if self.random.random() < 0.05 else "2012-10-17"
        return {
            "Version": version,
            "Statement": [self.statement() for _ in range(self.random.randint(1, 4))],
        }

    def context(self) -> dict[str, str | list[str]]:
        """Make a context of some of the keys."""
        context: dict[str, str | list[str]] = {}
        for kind, (_, _, values) in TYPES.items():
            if self.random.random() < 0.7:
                context[f"test:{kind}"] = self.random.choice(values)
            if self.random.random() < 0.7:
                context[f"test:{kind}s"] = self.some(values, 3)
        if self.random.random() < 0.7:
            context["AWS:username"] = self.random.choice(("ci", "a", "*"))
        if self.random.random() < 0.5:
            context["aws:TagKeys"] = self.some(("a", "ci"), 2)
        if self.random.random() < 0.5:
            context["aws:PrincipalTag/team"] = self.random.choice(("a", "ci"))
        return context

    def pair(self) -> Pair:
        """Make policies, sometimes a permissions boundary, and a request."""
        return Pair(
            tuple(self.policy() for _ in range(self.random.choice((1, 1, 2)))),
            self.policy() if self.random.random() < 0.2 else None,
            {
                "action": self.random.choice(ACTIONS),
                "resource": self.random.choice(RESOURCES),
                "context": self.context(),
            },
        )


def ours(pair: Pair) -> str:
    """Ask the product's evaluator."""
    boundary = (parse(json.dumps(pair.boundary).encode(), "b"),) if pair.boundary else None
    policies = Policies(
        identity=tuple(parse(json.dumps(policy).encode(), "p") for policy in pair.policies),
        boundary=boundary,
    )
    context = {
        key: tuple(value) if isinstance(value, list) else (value,)
        for key, value in pair.request["context"].items()
    }
    request = Request(
        pair.request["action"], pair.request["resource"], context, context_complete=True
    )
    return evaluate_access(request, policies).effect


def theirs(pairs: Sequence[Pair], folder: Path) -> list[str]:
    """Ask the oracle."""
    lines = (
        json.dumps({"policies": pair.policies, "boundary": pair.boundary, "request": pair.request})
        + "\n"
        for pair in pairs
    )
    completed = subprocess.run(
        ["node", "oracle.mjs"],
        input="".join(lines),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if completed.returncode:
        raise SystemExit(completed.stderr)
    return [json.loads(line) for line in completed.stdout.splitlines()]


def values_of(
    condition: tuple[str, str, Sequence[str]], request: Mapping[str, Any]
) -> list[str] | None:
    """Return the request's values of a condition's key."""
    value = {key.lower(): value for key, value in request["context"].items()}.get(
        condition[1].lower()
    )
    return [value] if isinstance(value, str) else value


def is_malformed(condition: tuple[str, str, Sequence[str]], found: Sequence[str]) -> bool:
    """Return whether a value of the policy or the request has not its operator's format."""
    kinds = ("Numeric", "Date", "Ip", "Arn")
    return condition[0].rpartition(":")[2].removeprefix("Not").startswith(kinds) and (
        bool({"x", "ten", "soon"} & {*condition[2], *found})
    )


CONDITION_RULES: Mapping[
    str, Callable[[tuple[str, str, Sequence[str]], list[str] | None], bool]
] = {
    "any-value-if-exists": lambda c, found: (
        found is None and c[0].startswith("ForAny") and c[0].endswith("IfExists")
    ),
    "null-value": lambda c, _: c[0] == "Null" and "yes" in c[2],
    "bool-value": lambda c, found: (
        "Bool" in c[0] and bool({"yes", "no", ""} & {*c[2], *(found or ())})
    ),
    "multivalued-variable": lambda c, _: any("${aws:TagKeys" in value for value in c[2]),
    "exponent": lambda c, found: bool({"1e1", "10."} & {*c[2], *(found or ())}),
    "leading-zeros": lambda _, found: "203.000.113.7" in (found or ()),
    "list-of-one": lambda c, found: (
        c[1].endswith("s") and len(found or ()) == 1 and ":" not in c[0] and c[0] != "Null"
    ),
    "malformed-value": lambda c, found: is_malformed(c, found or ()),
    "epoch-seconds": lambda c, found: "Date" in c[0] and EPOCH in {*c[2], *(found or ())},
    "whole-range": lambda c, _: "0.0.0.0/0" in c[2],
    "null-and-negated": lambda c, _: (
        "Not" in c[0] and any("${aws:username}" in value for value in c[2])
    ),
    "other-family": lambda c, found: (
        "NotIp" in c[0] and len({":" in v for v in (*c[2], *(found or ())) if v != "x"}) > 1
    ),
    "escape-in-equals": lambda c, _: "StringEquals" in c[0].replace("Not", "") and "${*}" in c[2],
    "old-version": lambda c, _: any("${" in value for value in c[2]),
}
"""Rule of `known.tsv` -> is it about a condition, given the request's values of its key?"""
STATEMENT_RULES: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "old-version": lambda statement: (
        "${" in str(statement.get("Resource", statement.get("NotResource")))
    ),
    "null-in-not-resource": lambda statement: (
        "${aws:username}" in str(statement.get("NotResource"))
    ),
    "service-wildcard": lambda statement: bool(
        {"*:*", "s?s:*"} & {*statement.get("Action", ()), *statement.get("NotAction", ())}
    ),
}


def rules_about(
    statement: Mapping[str, Any], policy: Mapping[str, Any], request: Mapping[str, Any]
) -> set[str]:
    """Return the rules that a statement or its conditions meet."""
    conditions = [
        (name, key, values)
        for name, block in statement.get("Condition", {}).items()
        for key, values in block.items()
    ]
    met = {
        rule
        for rule, meets in CONDITION_RULES.items()
        for c in conditions
        if meets(c, values_of(c, request))
    }
    met |= {rule for rule, meets in STATEMENT_RULES.items() if meets(statement)}
    if policy["Version"] == "2012-10-17":
        met.discard("old-version")
    if "aws:username" in {key.lower() for key in request["context"]}:
        met -= {"null-in-not-resource", "null-and-negated"}
    return met


def reduced(pair: Pair) -> tuple[Pair, set[str]]:
    """Remove the statements that a rule is about."""
    rules: set[str] = set()

    def left(policy: Mapping[str, Any]) -> Mapping[str, Any]:
        met = [rules_about(statement, policy, pair.request) for statement in policy["Statement"]]
        rules.update(*met)
        unaffected = [
            each for each, found in zip(policy["Statement"], met, strict=True) if not found
        ]
        return {**policy, "Statement": unaffected}

    return Pair(
        tuple(map(left, pair.policies)), pair.boundary and left(pair.boundary), pair.request
    ), rules


def install(folder: Path) -> bool:
    """Install the oracle; False if that is not possible."""
    if not (shutil.which("npm") and shutil.which("node")):
        return False
    shutil.copy(HERE / "oracle.mjs", folder)
    command = [
        "npm",
        "install",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        f"@cloud-copilot/iam-simulate@{VERSION}",
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0


def known() -> list[dict[str, str]]:
    """Read `known.tsv`."""
    lines = (
        line
        for line in (HERE / "known.tsv").read_text(encoding="utf-8").splitlines()
        if line[:1] != "#"
    )
    return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def compare(pairs: Sequence[Pair], folder: Path) -> tuple[list[Pair], Counter[str], Counter[str]]:
    """Return what no rule explains, the differences by rule and the decisions by name."""
    decisions = [ours(pair) for pair in pairs]
    answers = theirs(pairs, folder)
    different = [
        pair
        for pair, decision, answer in zip(pairs, decisions, answers, strict=True)
        if SAME.get(decision) != answer
    ]
    shorter = [reduced(pair) for pair in different]
    again = theirs([pair for pair, _ in shorter], folder) if shorter else []
    explained: Counter[str] = Counter()
    unexplained: list[Pair] = []
    for pair, (reduced_pair, rules), answer in zip(different, shorter, again, strict=True):
        if rules and SAME.get(ours(reduced_pair)) == answer:
            explained.update(rules)
        else:
            unexplained.append(pair)
    return unexplained, explained, Counter(decisions)


def main(arguments: list[str]) -> int:
    """Print the figures, and the unexplained differences."""
    if {row["rule"] for row in known()} != {*CONDITION_RULES, *STATEMENT_RULES}:
        print("known.tsv and the rules of this file differ.", file=sys.stderr)
        return 1
    number = int(arguments[0]) if arguments else PAIRS
    seed = int(arguments[1]) if arguments[1:] else 1
    maker = Maker(seed)
    pairs = [maker.pair() for _ in range(number)]
    with tempfile.TemporaryDirectory() as name:
        if not install(Path(name)):
            print("npm, or the package, cannot be had here: nothing was compared.")
            return NOT_HERE
        unexplained, explained, decisions = compare(pairs, Path(name))
    print(f"{number:,} pairs, seed {seed}: {counts_text(decisions)}")
    print(
        f"explained differences by rule: {counts_text(explained)}; unexplained: {len(unexplained)}"
    )
    for pair in unexplained[:5]:
        print(
            json.dumps(
                {"policies": pair.policies, "boundary": pair.boundary, "request": pair.request}
            )
        )
    return 1 if unexplained else 0


def counts_text(counts: Mapping[str, int]) -> str:
    """Print some counts."""
    texts: Iterable[str] = (f"{count:,} {name}" for name, count in sorted(counts.items()))
    return ", ".join(texts) or "none"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

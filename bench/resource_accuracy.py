"""Measures the resources derived from requests: `python -m bench.resource_accuracy FOLDER [--list
CLASS]`.

Some records name the resource a call was authorized on: they list it (`resources[]`), or a denial
names it. That truth is hidden, the resource is derived from the rest of the record, and both are
compared:

- exact: the derived resources are the true ones, literally;
- pattern: a derived pattern matches the true resource, and every part of it that the request names
  is literal; also a
secret's ARN together with the same with `-??????`, since the request may have named it with or
without its end, and a name of SageMaker's with its capitals and in lower case;
- too wide: it matches, but has a wildcard for a part that the request names;
- wrong: no derived resource matches, or a derived one of the same type is not the used one;
- unknown: the true ARN is of no type that the catalogue gives the action, so that no resource could
  be derived;
- elsewhere: the true ARN is in another region or account than the record, as in guides whose
  records were edited.

Equal cases (event, action, request, truth) count once, since one script may make the same call a
thousand times. Prints a table by service, the share of type wildcards, and how often a whole
account (`*`, `arn:…:SERVICE:…:*`) was derived although the action has ARNs. A second table
classifies calls whose answer has one ARN of the action's types, with the answer hidden: a weaker
truth, but of more services. `refused_resources.py` has truths of denials. `--list` shows the cases
of one class. Needs the package installed; reads only the folder.
"""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import structs

from leastpriv.aws.arns import Principals, Window
from leastpriv.cloudtrail.local_store import TrailFolder
from leastpriv.denials.message import read_denial
from leastpriv.models import Call, Need, Outcome
from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import map_event
from leastpriv.permissions.mapping import needs_of
from leastpriv.permissions.patterns import escape_observed, resource_matches
from leastpriv.permissions.request import request_values
from leastpriv.permissions.resource_types import action_of, fits, is_whole_arn, types_of_arn
from leastpriv.permissions.service_facts import Action

_USAGE = 2
CLASSES = ("exact", "pattern", "too wide", "wrong", "unknown", "elsewhere")
_PLACES = ("Partition", "Region", "Account")


@dataclass(frozen=True, slots=True)
class Case:
    """One action of one call whose resources are known."""

    event: str
    action: str
    truth: tuple[str, ...]
    derived: tuple[str, ...]
    verdict: str
    type_wildcard: bool
    request: str

    @property
    def bare(self) -> bool:
        """Whether all of an account was given though the action takes an ARN."""
        return any(is_account_wide(self.action, resource) for resource in self.derived)


def is_of(action: Action, prefix: str, arn: str) -> bool:
    """Whether an ARN is of one of the action's resource types, and of none that fits it more
    closely.
    """
    if not is_whole_arn(arn):
        return False
    kinds = types_of_arn(prefix, arn)
    return bool(kinds) and any(kind.name.lower() in kinds for kind in action.resource_types)


def is_account_wide(action: str, resource: str) -> bool:
    """Whether a resource is all of a service, or all there is, though each type of the action has
    more to its ARN.
    """
    documented = action_of(action)
    if not documented or not documented.resource_types:
        return False
    tails = {
        re.sub(r"\$\{\w+\}", "*", kind.arn).split(":", 5)[5] for kind in documented.resource_types
    }
    return resource == "*" or (resource.split(":", 5)[-1] == "*" and "*" not in tails)


def cases(call: Call, *, answered: bool = False) -> Iterator[Case]:
    """Hides what names the resource, derives it from the rest of the call, and yields the
    comparison for each action.

    The truth is CloudTrail's list and a denial or, with `answered`, the answer.
    """
    without_truth = structs.replace(
        call, resources=(), error_message="", response={} if answered else call.response
    )
    needs_by_action: dict[str, list[Need]] = defaultdict(list)
    for need in needs_of(without_truth).needs:
        # An inferred need is of another resource than the event's, as that of a passed role.
        is_of_event = need.basis.value != "inferred" and need.verified
        if is_of_event:
            needs_by_action[need.permission.action].append(need)
    for action, needs in needs_by_action.items():
        truth = answered_resource(call, action) if answered else true_resources(call, action)
        if truth:
            derived = tuple(dict.fromkeys(need.permission.resource for need in needs))
            yield Case(
                event=f"{call.source.partition('.')[0]}:{call.name}",
                action=action,
                truth=truth,
                derived=derived,
                verdict=verdict(call, action, truth, derived),
                type_wildcard=any(need.derivation.startswith("any ") for need in needs),
                request=str(call.parameters),
            )


def true_resources(call: Call, action: str) -> tuple[str, ...]:
    """The resources that the record itself names for the action; empty without any."""
    documented = action_of(action)
    prefix = action.partition(":")[0]
    if documented is None or not documented.resource_types:
        return ()
    event = map_event(call.source, call.name)
    if any(mapped.on for mapped in event.actions):
        return ()  # A copy lists both ends; the record does not say which is which.
    arns_of_service = [
        arn
        for arn in call.resources
        if arn.startswith(("arn:aws:", "arn:aws-")) and arn.split(":")[2] == prefix
    ]
    # Listed resources of other types do not count: the bucket of an object.
    arns = [arn for arn in call.resources if is_of(documented, prefix, arn)] or arns_of_service
    if call.outcome is Outcome.DENIED:
        denial = read_denial(call.error_message, error_code=call.error_code)
        actions = [catalog.spelling(denied_action) for denied_action in denial.actions]
        if (
            action in actions
            and denial.resource.startswith("arn:")
            and not set(denial.resource) & set("*?")
        ):
            arns.append(denial.resource)
    return tuple(dict.fromkeys(arns))


def answered_resource(call: Call, action: str) -> tuple[str, ...]:
    """The one ARN of the action's types in the answer; empty where there is none, or more."""
    documented = action_of(action)
    prefix = action.partition(":")[0]
    texts = dict.fromkeys(text for _, text in request_values(call.response))
    arns = tuple(text for text in texts if documented and is_of(documented, prefix, text))
    return arns if len(arns) == 1 else ()


def verdict(call: Call, action: str, truth: Sequence[str], derived: Sequence[str]) -> str:
    """One of `CLASSES`."""
    prefix = action.partition(":")[0]
    if not all(fits(action, escape_observed(arn)) for arn in truth):
        return "unknown"
    regions_and_accounts = {
        (arn.split(":")[3] or call.region, arn.split(":")[4] or call.account) for arn in truth
    }
    if regions_and_accounts != {(call.region, call.account)}:
        return "elsewhere"
    if all(any(resource_matches(pattern, arn) for pattern in derived) for arn in truth):
        kinds = {kind for arn in truth for kind in types_of_arn(prefix, arn)}
        beside = [
            pattern
            for pattern in derived
            if types_of_arn(prefix, pattern) & kinds
            and not any(
                resource_matches(pattern, arn) or is_other_form(pattern, arn) for arn in truth
            )
        ]
        if beside:
            return "wrong"
        if {escape_observed(arn) for arn in truth} == set(derived):
            return "exact"
        if any(is_other_form(pattern, arn) for pattern in derived for arn in truth):
            return "pattern"
        names_in_request = known_texts(call)
        widened = [
            arn for arn in truth if widens_known_parts(prefix, arn, derived, names_in_request)
        ]
        return "too wide" if widened else "pattern"
    return "wrong"


def is_other_form(pattern: str, arn: str) -> bool:
    """Whether a pattern is the other form of an ARN: of a secret with its end, of SageMaker's names
    with capitals.
    """
    if ":sagemaker:" in arn:
        return pattern.lower() == escape_observed(arn).lower()
    return ":secretsmanager:" in arn and pattern == f"{escape_observed(arn)}-??????"


def known_texts(call: Call) -> frozenset[str]:
    """All names in the request, whole and in parts, with account and region."""
    texts = {text for _, text in request_values(call.parameters)}
    parts = {part for text in texts for part in re.split(r"[/:,]", text)}
    tails = {text.partition(sep)[2] for text in texts for sep in (":::", "/") if sep in text}
    return frozenset(
        texts | parts | tails | {call.region, call.account, call.principal.split(":")[1]}
    ) - {""}


def widens_known_parts(
    prefix: str, arn: str, derived: Iterable[str], names: frozenset[str]
) -> bool:
    """Whether every derived pattern that matches has a wildcard for a known part of the ARN."""
    return all(
        any(
            resource_matches(pattern, changed_arn)
            for changed_arn in with_one_part_changed(prefix, arn, names)
        )
        for pattern in derived
        if resource_matches(pattern, arn)
    )


def with_one_part_changed(prefix: str, arn: str, names: frozenset[str]) -> Iterator[str]:
    """The ARN with each of its parts that the request names replaced in turn."""
    kinds = types_of_arn(prefix, arn)
    for kind in catalog.resource_types(prefix):
        for template in kind.arn.split(", ") if kind.name in kinds else ():
            expression = re.sub(r"\\\$\\\{(\w+)\\\}", r"(?P<\1>.+?)", re.escape(template))
            match = re.fullmatch(expression, arn, re.DOTALL)
            if not match:
                continue
            for name, text in match.groupdict().items():
                if text in names:
                    start, end = match.span(name)
                    yield f"{arn[:start]}zz9{text[:2]}{arn[end:]}"


def main(arguments: list[str]) -> int:
    """Print the figures; 2 where the folder holds no records."""
    shown_class = arguments[arguments.index("--list") + 1] if "--list" in arguments[:-1] else ""
    folder = Path(arguments[0]) if arguments else Path()
    files = sorted(folder.rglob("*.json*.gz")) if arguments else []
    if not files or (shown_class and shown_class not in (*CLASSES, "wildcard")):
        print(
            f"Name a folder of *.json*.gz files; --list takes {', '.join(CLASSES)} or wildcard.",
            file=sys.stderr,
        )
        return _USAGE
    facts = [fact for file in files for fact in TrailFolder(file).read(Window(), Principals())]
    calls = [fact for fact in facts if isinstance(fact, Call)]
    all_cases = [case for call in calls for case in cases(call)]
    distinct = list(dict.fromkeys(all_cases))
    print_table(distinct)
    counts = Counter(case.verdict for case in all_cases)
    shares = ", ".join(
        f"{name} {counts[name]:,} ({counts[name] / max(len(all_cases), 1):.1%})" for name in CLASSES
    )
    print(f"\n{len(all_cases):,} counted singly: {shares}")
    print_wildcards(calls, distinct)
    answered_cases = list(
        dict.fromkeys(case for call in calls for case in cases(call, answered=True))
    )
    print("\nBy the ARN of the answer:")
    print_table(answered_cases)
    for case in (*distinct, *answered_cases) if shown_class else ():
        if case.verdict == shown_class or (shown_class == "wildcard" and case.type_wildcard):
            print(f"\n{case.event} -> {case.action}\n  true    {', '.join(case.truth)[:300]}")
            print(f"  derived {', '.join(case.derived)[:300]}\n  request {case.request[:400]}")
    return 0


def print_table(distinct: Sequence[Case]) -> None:
    """Distinct cases by service and in sum."""
    by_service: dict[str, Counter[str]] = defaultdict(Counter)
    for case in distinct:
        by_service[case.action.partition(":")[0]][case.verdict] += 1
    print_counts("service", by_service, CLASSES)
    counts = sum(by_service.values(), Counter[str]())
    shares = " ".join(f"{counts[name] / max(counts.total(), 1):>10.1%}" for name in CLASSES)
    print(f"{'share':24} {'':>7} {shares}")


def print_counts(
    title: str, by_service: Mapping[str, Counter[str]], classes: Sequence[str]
) -> None:
    """Print how many cases of each service and of all are of each class."""
    print(f"{title:24} {'cases':>7} " + " ".join(f"{name:>10}" for name in classes))
    rows = sorted(by_service.items(), key=lambda entry: -entry[1].total())
    rows.append(("all", sum(by_service.values(), Counter[str]())))
    for service, counts in rows:
        cells = " ".join(f"{counts[name]:>10,}" for name in classes)
        print(f"{service:24} {counts.total():>7,} {cells}")


def print_wildcards(calls: Sequence[Call], classified: Sequence[Case]) -> None:
    """Type wildcards among the classified, and among all resources of the records."""
    bare = [case for case in classified if case.bare]
    open_judged = sum(case.type_wildcard for case in classified)
    print(
        f"type wildcards among them: {open_judged:,} ({open_judged / max(len(classified), 1):.1%})"
    )
    needs = dict.fromkeys(need for call in calls for need in needs_of(call).needs if need.verified)
    account_wide = [
        need for need in needs if is_account_wide(need.permission.action, need.permission.resource)
    ]
    print(
        f"a whole account where the action takes an ARN: {len(bare)},"
        f" and of all needs {len(account_wide)}"
    )
    kinds = Counter("any" if need.derivation.startswith("any ") else "other" for need in needs)
    is_open_counts = Counter(
        "any" if all_open else "other" for all_open in _by_action(calls).values()
    )
    print(
        f"of all {kinds.total():,} distinct needs of the records, {kinds['any']:,} are type"
        " wildcards;"
    )
    print(
        f"{is_open_counts['any']:,} of {is_open_counts.total():,} actions with a resource type have"
        " never another resource"
    )


def _by_action(calls: Sequence[Call]) -> dict[str, bool]:
    """Action with resource types -> whether the records name its resource in no call."""
    is_open_by_action: dict[str, bool] = {}
    for call in calls:
        for need in needs_of(call).needs:
            documented = action_of(need.permission.action)
            if documented and documented.resource_types:
                is_open = need.derivation.startswith("any ")
                is_open_by_action[documented.name] = (
                    is_open_by_action.get(documented.name, True) and is_open
                )
    return is_open_by_action


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

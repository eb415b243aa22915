"""Compares the mapping with AWS's own denials: `python -m bench.oracle FOLDER`.

A denial that names an action shows what AWS authorized. FOLDER has `records/*.jsonl.gz` (CloudTrail
records, one per line) and `refusals.jsonl` (one labelled message per line: `message`,
`expected.actions`). Each denied record, and each message that also names its operation, is one
case, equal ones counted once:

- same: the mapping of the event yields the action;
- partner: the event is known to need it besides (a passed role, tags);
- key: an action of AWS KMS in the course of another service's call, which counts as known for any
  call;
- other: the mapping yields another action, none, or the answer that no permission is needed. In
  production this is the
gap `mapping-disagrees`, or the event is unmapped.

A message names its operation and not always the service. If several services have the operation and
the message, without the denied action, names none of them, it is no case: the answer must not
choose the question.

Prints the counts and each case that is not "same". Needs the package installed; loads all API
models for the messages, since they name the operation and not always the service.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path

from msgspec import Struct, structs

from leastpriv.aws.arns import Principals, Window
from leastpriv.cloudtrail.local_store import TrailFolder
from leastpriv.denials.message import read_denial
from leastpriv.models import Call, Outcome
from leastpriv.permissions import catalog
from leastpriv.permissions.event_table import Verdict, map_event
from leastpriv.permissions.lifecycle import unknown_refusals
from leastpriv.permissions.mapping import CallNeeds, needs_of

_USAGE = 2
_OPERATION = re.compile(
    r"when calling the (?P<boto>\w+) operation|operation error [\w ]+: (?P<go>\w+)|: (?P<java>\w+)"
    r" operation\b"
)
EXPLAINED: Mapping[str, str] = {
    "CreateFunction was refused s3:GetObject": "Lambda fetches the code in the caller's name",
    "AssumeRoleWithWebIdentity was refused sts:AssumeRoleWithWebIdentity": (
        "the role's trust policy refused it, not a grant"
    ),
}
"""The public messages for which neither answer is a defect of the mapping."""
_VERDICTS = ("same", "partner", "key", "other")


class Case(Struct, frozen=True):
    """One event and the action that AWS denied in its course."""

    source: str
    event: str
    action: str
    where: str
    """`records` or `refusals`."""
    verdict: str = ""
    """`same`, `partner`, `key` or `other`."""


def main(arguments: list[str]) -> int:
    """Print the figures; 2 if the folder has no such files."""
    folder = Path(arguments[0]) if arguments else Path()
    if not arguments or not (
        (folder / "records").is_dir() or (folder / "refusals.jsonl").is_file()
    ):
        print("Name a folder with records/*.jsonl.gz and refusals.jsonl.", file=sys.stderr)
        return _USAGE
    cases = list(
        dict.fromkeys((*of_records(folder / "records"), *of_messages(folder / "refusals.jsonl")))
    )
    counts = Counter((case.where, case.verdict) for case in cases)
    print(
        f"catalogue {catalog.version()}\n\n{'':10}{'cases':>7}"
        + "".join(f"{verdict:>9}" for verdict in _VERDICTS)
        + "  explained"
    )
    for source in ("records", "refusals"):
        row = [counts[source, verdict] for verdict in _VERDICTS]
        explained = sum(
            1
            for case in cases
            if case.where == source and case.verdict == "other" and explanation(case)
        )
        print(
            f"{source:10}{sum(row):>7}"
            + "".join(f"{count:>9}" for count in row)
            + f"{explained:>11}"
        )
    for case in sorted(cases, key=lambda case: (case.verdict, case.source, case.event)):
        if case.verdict != "same":
            print(
                f"{case.verdict}: {case.source}:{case.event} was refused {case.action} "
                f" {explanation(case)}"
            )
    return 0


def explanation(case: Case) -> str:
    """Say why an answer of the mapping is no defect; empty without a reason."""
    return EXPLAINED.get(f"{case.event} was refused {case.action}", "")


def of_records(folder: Path) -> Iterator[Case]:
    """Denied records whose message names the action."""
    for file in sorted(folder.glob("*.jsonl.gz")):
        for call in TrailFolder(file).read(Window(), Principals()):
            if isinstance(call, Call) and call.outcome is Outcome.DENIED:
                mapped = needs_of(call)
                needed_actions = {need.permission.action for need in mapped.needs}
                for action in read_denial(call.error_message, error_code=call.error_code).actions:
                    case = Case(call.source, call.name, action, where="records")
                    yield judged(case, mapped, needed_actions)


def of_messages(file: Path) -> Iterator[Case]:
    """Labelled messages that name an operation and an action."""
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        row = json.loads(line)
        match = _OPERATION.search(row["message"])
        actions = (row.get("expected") or {}).get("actions") or ()
        for action in actions if match else ():
            operation = match["boto"] or match["go"] or match["java"] if match else ""
            source = _source(operation, action, row["message"].lower())
            if source:
                event = map_event(source, operation)
                mapped = CallNeeds(event.verdict, event.prefix)
                needed_actions = {action_of_event.action for action_of_event in event.actions}
                case = Case(source, operation, action, where="refusals")
                yield judged(case, mapped, needed_actions)


def judged(case: Case, mapped: CallNeeds, needed: Collection[str]) -> Case:
    """Return a case with its verdict."""
    return structs.replace(case, verdict=_verdict(case, mapped, needed))


def _verdict(case: Case, mapped: CallNeeds, needed: Collection[str]) -> str:
    """Judge a case by the mapping of its call and the actions that this names."""
    if catalog.spelling(case.action) in needed or case.action in needed:
        return "same"
    if mapped.verdict in (Verdict.NO_PERMISSION, Verdict.UNMAPPED):
        return "other"
    if unknown_refusals(case.source, case.event, mapped, (case.action,)):
        return "other"
    if case.action.lower().startswith("kms:") and mapped.prefix != "kms":
        return "key"
    return "partner"


def _source(operation: str, action: str, message: str) -> str:
    """The event source of an operation: the only one that has it, else the only one that the
    message names.
    """
    sources = _sources().get(operation, set())
    words = message.replace(action.lower(), "").replace(" ", "")
    named_sources = {source for source in sources if source.partition(".")[0] in words}
    candidates = sources if len(sources) == 1 else named_sources
    return next(iter(candidates)) if len(candidates) == 1 else ""


@cache
def _sources() -> Mapping[str, set[str]]:
    import botocore.session

    session = botocore.session.get_session()
    loader = session.get_component("data_loader")
    sources: dict[str, set[str]] = defaultdict(set)
    for service in session.get_available_services():
        model = loader.load_service_model(service, "service-2")
        signing = model["metadata"].get("signingName") or model["metadata"]["endpointPrefix"]
        for operation in model["operations"]:
            sources[operation].add(f"{signing}.amazonaws.com")
    return sources


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

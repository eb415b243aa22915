"""The roles behind a role: drawn as Mermaid, and those named whose permissions no committed policy holds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from leastpriv.evidence.models import Evidence
from leastpriv.evidence.role_chain import Chain, Link, Way, chain_of
from leastpriv.report.escape import code
from leastpriv.report.phrases import codes, joined, plural

_MOST_DRAWN = 40
"""Links; Mermaid draws some hundreds, and nobody reads so many."""
_PLAIN = re.compile(r"[^A-Za-z0-9 ./:-]")
_LONGEST_LABEL = 100


@dataclass(frozen=True, slots=True)
class Unwritten:
    """A role of the chain without a committed policy."""

    role: str
    """ARN."""
    actions: tuple[str, ...] = ()
    """What it would need, by its own calls."""
    calls: int = 0
    runs: int = 0
    refused: int = 0
    """Actions that it used or was refused, and that no draft would hold."""
    failure: str = ""
    """Why its calls are not known; empty where they are."""


@dataclass(frozen=True, slots=True)
class Chained:
    """A chain, and what is known of the policies of its roles."""

    chain: Chain
    committed: frozenset[str] = frozenset()
    """ARNs of those whose policy is a target's."""
    unwritten: tuple[Unwritten, ...] = ()
    """Those whose calls were read though they are no target."""
    signed: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Role -> (who handed out the keys, empty where nobody did that was read) -> its calls."""
    advice: str = ""
    """What a person may do about roles without a committed policy, in Markdown of ours."""


_NAME_THEM = (
    "Name them as targets in a `config` file, or have `leastpriv propose --discover` draft their policies, so that "
    "their permissions are looked after as well (docs/several-roles.md)."
)


def leads_on(principal: str, evidence: Evidence) -> Chained:
    """What a principal's own calls tell of the roles behind it, where nobody named these as targets."""
    chain = chain_of([principal], {principal: evidence})
    return Chained(chain, frozenset({principal}), advice=_NAME_THEM)


def chain_section(chained: Chained) -> Iterator[str]:
    """The chain as a section; none where nothing leads on."""
    chain = chained.chain
    if not chain.links:
        return
    lines = ["### Roles that this leads to", "", *_drawn(chained)]
    if chain.left_out:
        lines += ["", f"And {plural(chain.left_out, 'further role')}, not followed."]
    lines += _others(chained)
    lines += _without_policy(chained)
    yield "\n".join(lines)


def mermaid(chained: Chained) -> str:
    """The chain as a flowchart; whatever a name holds, it is a label and nothing else.

    Letters, digits and a few signs stay; all else is written as Mermaid's entity codes (`#35;`), so that no label can
    end, start a node, a link, a directive, Markdown or HTML ("Entity codes to escape characters" of Mermaid's
    flowchart syntax).
    """
    chain = chained.chain
    links = chain.links[:_MOST_DRAWN]
    members = dict.fromkeys((*chain.roots, *(arn for link in links for arn in (link.source, link.role))))
    ids = {arn: f"n{number}" for number, arn in enumerate(members)}
    home = {arn.split(":")[4] for arn in chain.roots}
    lines = ["flowchart LR"]
    for arn, node in ids.items():
        left, right = ("[", "]") if arn in chained.committed else ("([", "])")
        lines.append(f'    {node}{left}"{_label(_name(arn, home))}"{right}')
    lines += [f'    {ids[link.source]} -->|"{_label(_words(link))}"| {ids[link.role]}' for link in links]
    return "\n".join(lines)


def chained_value(chained: Chained) -> dict[str, object]:
    """The same for machines."""
    chain = chained.chain
    return {
        "roots": list(chain.roots),
        "links": [
            {
                "from": link.source,
                "role": link.role,
                "way": link.way.value,
                "service": link.service,
                "count": link.count,
                "runs": len(link.runs),
            }
            for link in chain.links
        ],
        "left_out": chain.left_out,
        "committed": sorted(chained.committed & set(chain.members)),
        "unwritten": [
            {"role": each.role, "actions": list(each.actions), "calls": each.calls, "failure": each.failure}
            for each in chained.unwritten
        ],
    }


def _drawn(chained: Chained) -> list[str]:
    lines = ["```mermaid", *mermaid(chained).split("\n"), "```"]
    more = len(chained.chain.links) - _MOST_DRAWN
    if more > 0:
        lines += ["", f"{plural(more, 'further link')} not drawn."]
    if any(role not in chained.committed for role in chained.chain.roles):
        lines += ["", "A round end: no committed policy of that role is known here."]
    return lines


def _others(chained: Chained) -> Iterator[str]:
    """Roles that were used with keys of others too: what is narrowed there concerns those."""
    found = []
    for role in chained.chain.roles:
        links, counts = chained.chain.to(role), chained.signed.get(role, {})
        issuers = {link.source for link in links}
        other = sum(count for issuer, count in counts.items() if issuer not in issuers)
        # What a service does with a role that it was handed is signed with keys that no login shows; and where the
        # chain's own logins tell no key either, nobody knows whose the others are.
        are_told = bool(issuers & counts.keys()) and all(link.way is Way.ASSUMED for link in links)
        if other and are_told and role in chained.committed:
            found.append(f"- {code(_short(role))}: {other:,} of {plural(sum(counts.values()), 'call')}.")
    if found:
        yield from ("", "Used by others too, with keys that nobody here handed out:", "", *found)


def _without_policy(chained: Chained) -> Iterator[str]:
    chain = chained.chain
    lacking = [role for role in chain.roles if role not in chained.committed]
    if not lacking:
        return
    known = {each.role: each for each in chained.unwritten}
    yield from ("", "**Without a committed policy**, though what this does depends on them:", "")
    yield "| Role | Reached | Would need |"
    yield "| --- | --- | --- |"
    for role in lacking:
        yield f"| {code(_short(role))} | {_reached(chain.to(role))} | {_needs(known.get(role))} |"
    if chained.advice:
        yield from ("", chained.advice)


def _reached(links: tuple[Link, ...]) -> str:
    return "; ".join(f"{_words(link)} by {code(_short(link.source))}" for link in links[:3])


def _needs(unwritten: Unwritten | None) -> str:
    if unwritten is None:
        return "not looked at"
    if unwritten.failure:
        return f"not known: {code(unwritten.failure)}"
    if not unwritten.actions:
        return f"nothing that can be written ({plural(unwritten.calls, 'call')})"
    more = [f"{plural(unwritten.refused, 'action')} refused or not written"] if unwritten.refused else []
    seen = f"{plural(unwritten.calls, 'call')} in {plural(unwritten.runs, 'run')}"
    return f"{plural(len(unwritten.actions), 'action')} ({joined([seen, *more])}): {codes(unwritten.actions, 10)}"


def _words(link: Link) -> str:
    """`assumed 12×`, `passed to CloudFormation 12×`."""
    how = "assumed" if link.way is Way.ASSUMED else f"passed to {link.service}"
    return f"{how} {link.count:,}×"


def _short(arn: str) -> str:
    """Kind, path and name without the account: `role/ci/deploy`."""
    return arn.split(":", 5)[5]


def _name(arn: str, home: set[str]) -> str:
    account, name = arn.split(":")[4], arn.rpartition("/")[2]
    return name if account in home else f"{name} in {account}"


def _label(text: str) -> str:
    shown = text if len(text) <= _LONGEST_LABEL else text[: _LONGEST_LABEL - 1] + "…"
    return _PLAIN.sub(lambda found: f"#{ord(found[0])};", shown)

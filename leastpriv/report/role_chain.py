"""Sections on the role chain: a Mermaid flowchart, and the roles without a committed policy."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from leastpriv.evidence.models import Evidence
from leastpriv.evidence.role_chain import RoleChain, RoleLink, RoleLinkKind, build_chain
from leastpriv.report.escape import code
from leastpriv.report.phrases import codes, joined, plural, short_arn

_MOST_DRAWN = 40
"""Links; Mermaid draws some hundreds, more than a person reads."""
_PLAIN = re.compile(r"[^A-Za-z0-9 ./:-]")
_LONGEST_LABEL = 100
_NAME_THEM = "`leastpriv propose --discover` drafts their policies."
_COLUMN, _ROW, _BOX, _HEIGHT = 400, 54, 330, 36
_LONGEST_NAME = 38


class UncommittedRole(Struct, frozen=True):
    """A role of the chain without a committed policy."""

    role: str
    """ARN."""
    actions: tuple[str, ...] = ()
    """Actions that it would need, by its own calls."""
    calls: int = 0
    runs: int = 0
    denied: int = 0
    """Actions that it used or was denied, and that no first draft would grant."""
    failure: str = ""
    """Why its calls are unknown, or empty."""


class RoleChainPolicies(Struct, frozen=True):
    """A role chain with the policies of its roles."""

    chain: RoleChain
    committed: frozenset[str] = frozenset()
    """ARNs of roles whose policy belongs to a target."""
    without_policy: tuple[UncommittedRole, ...] = ()
    """Roles without a target whose calls were read."""
    signed: Mapping[str, Mapping[str, int]] = {}
    """Role -> (principal that issued the access keys, empty if unknown) -> number of calls."""
    advice: str = ""
    """Advice on roles without a committed policy, in trusted Markdown."""


def principal_role_chain(principal: str, evidence: Evidence) -> RoleChainPolicies:
    """The roles behind a principal, from its own calls."""
    chain = build_chain([principal], {principal: evidence})
    return RoleChainPolicies(chain, frozenset({principal}), advice=_NAME_THEM)


def chain_section(chained: RoleChainPolicies) -> Iterator[str]:
    """The role chain as a section; empty without links."""
    chain = chained.chain
    if not chain.links:
        return
    lines = ["#### Roles that this one leads to"]
    if len(chain.links) > 1:
        lines += ["", "```mermaid", *mermaid(chained).split("\n"), "```"]
        links_left = len(chain.links) - _MOST_DRAWN
        lines += ["", f"{plural(links_left, 'further link')} not drawn."] if links_left > 0 else []
    if chain.left_out:
        lines += ["", f"And {plural(chain.left_out, 'further role')}, not followed."]
    lines += _others(chained)
    lines += _without_policy(chained)
    yield "\n".join(lines)


def mermaid(chained: RoleChainPolicies) -> str:
    """The role chain as a flowchart; a name is only ever a label.

    Letters, digits and a few signs remain; all else is written as Mermaid's entity codes (`#35;`),
    so that no label can end, start a node, a link, a directive, Markdown or HTML ("Entity codes to
    escape characters" of Mermaid's flowchart syntax).
    """
    chain = chained.chain
    links = chain.links[:_MOST_DRAWN]
    members = dict.fromkeys(
        (*chain.roots, *(arn for link in links for arn in (link.source, link.role)))
    )
    ids = {arn: f"n{number}" for number, arn in enumerate(members)}
    home = {arn.split(":")[4] for arn in chain.roots}
    lines = ["flowchart LR"]
    for arn, node in ids.items():
        opening, right = ("[", "]") if arn in chained.committed else ("([", "])")
        account, name = arn.split(":")[4], arn.rpartition("/")[2]
        label = _label(name if account in home else f"{name} in {account}")
        lines.append(f'    {node}{opening}"{label}"{right}')
    lines += [
        f'    {ids[link.source]} -->|"{_label(_link_text(link))}"| {ids[link.role]}'
        for link in links
    ]
    return "\n".join(lines)


def role_chain_value(chained: RoleChainPolicies) -> dict[str, object]:
    """The role chain for machines."""
    chain = chained.chain
    return {
        "roots": list(chain.roots),
        "links": [
            {
                "from": link.source,
                "role": link.role,
                "way": link.kind.value,
                "service": link.service,
                "count": link.count,
                "runs": len(link.runs),
            }
            for link in chain.links
        ],
        "left_out": chain.left_out,
        "committed": sorted(chained.committed & set(chain.members)),
        "unwritten": [
            {
                "role": unwritten.role,
                "actions": list(unwritten.actions),
                "calls": unwritten.calls,
                "failure": unwritten.failure,
            }
            for unwritten in chained.without_policy
        ],
    }


def _others(chained: RoleChainPolicies) -> Iterator[str]:
    """Roles used with access keys that other principals issued: a narrowing affects those too."""
    lines: list[str] = []
    for role in chained.chain.roles:
        if role not in chained.committed:
            continue
        counts = chained.signed.get(role, {})
        others = _calls_of_others(chained.chain.to(role), counts)
        if others:
            all_calls = plural(sum(counts.values()), "call")
            lines.append(f"- {code(short_arn(role))}: {others:,} of {all_calls}.")
    if lines:
        yield from (
            "",
            "Also used with access keys that no principal of this chain issued:",
            "",
            *lines,
        )


def _calls_of_others(links: Sequence[RoleLink], calls_by_issuer: Mapping[str, int]) -> int:
    """Returns how many calls of a role have keys that no principal of the chain issued; 0 where it
    is not known who issued them.
    """
    issuers = {link.source for link in links}
    # A service signs calls of a passed role with access keys that no AssumeRole event shows.
    if any(link.kind is not RoleLinkKind.ASSUMED for link in links):
        return 0
    # If the chain's own AssumeRole events show no key either, those of the others may be the
    # chain's.
    if issuers.isdisjoint(calls_by_issuer):
        return 0
    return sum(calls for issuer, calls in calls_by_issuer.items() if issuer not in issuers)


def _without_policy(chained: RoleChainPolicies) -> Iterator[str]:
    """Yields the roles of the chain that no committed policy names, with what leads to them and
    what they need.
    """
    chain = chained.chain
    lacking = [role for role in chain.roles if role not in chained.committed]
    if not lacking:
        return
    unwritten_by_role = {unwritten.role: unwritten for unwritten in chained.without_policy}
    yield from ("", "No committed policy names:", "")
    for role in lacking:
        ways = (
            f"{_link_text(link)} by {code(short_arn(link.source))}" for link in chain.to(role)[:3]
        )
        yield f"- {code(short_arn(role))}, {'; '.join(ways)}: {_needs(unwritten_by_role.get(role))}"
    if chained.advice:
        yield from ("", chained.advice)


def _needs(unwritten: UncommittedRole | None) -> str:
    """Returns how many actions a role needs, with their names, or why that is not known."""
    if unwritten is None:
        return "its needs were not read"
    if unwritten.failure:
        return f"not known: {code(unwritten.failure)}"
    if not unwritten.actions:
        return f"no permission that can be written ({plural(unwritten.calls, 'call')})"
    further_words = (
        [f"{plural(unwritten.denied, 'action')} denied or not written"] if unwritten.denied else []
    )
    use_words = f"{plural(unwritten.calls, 'call')} in {plural(unwritten.runs, 'run')}"
    return (
        f"{plural(len(unwritten.actions), 'action')} ({joined([use_words, *further_words])}):"
        f" {codes(unwritten.actions, 10)}"
    )


def _link_text(link: RoleLink) -> str:
    """`assumed 12×`, `passed to CloudFormation 12×`."""
    how = "assumed" if link.kind is RoleLinkKind.ASSUMED else f"passed to {link.service}"
    return f"{how} {link.count:,}×"


def _label(text: str) -> str:
    return _PLAIN.sub(lambda found: f"#{ord(found[0])};", _truncated(text, _LONGEST_LABEL))


def drawing(chained: RoleChainPolicies | None) -> dict[str, object] | None:
    """The role chain as boxes and lines of an SVG with its size; None without links.

    The column of a role is the length of the shortest path to it.
    """
    if chained is None or not chained.chain.links:
        return None
    chain = chained.chain
    steps = dict.fromkeys(chain.roots, 0)
    for _ in chain.members:
        for link in chain.links:
            if link.source in steps:
                steps.setdefault(link.role, steps[link.source] + 1)
    rows: Counter[int] = Counter()
    position_by_role: dict[str, _Position] = {}
    for arn, step in steps.items():
        position_by_role[arn] = _Position(step * _COLUMN, rows[step] * _ROW + 8)
        rows[step] += 1
    boxes = [
        {
            "x": position_by_role[arn].x,
            "y": position_by_role[arn].y,
            "label": _truncated(arn.rpartition("/")[2], _LONGEST_NAME),
            "arn": arn,
            "committed": arn in chained.committed,
        }
        for arn in sorted(position_by_role)
    ]
    return {
        "boxes": boxes,
        "lines": [
            _drawn_line(link, position_by_role)
            for link in chain.links
            if {link.source, link.role} <= position_by_role.keys()
        ],
        "width": max(position.x for position in position_by_role.values()) + _COLUMN,
        "height": max(position.y for position in position_by_role.values()) + _ROW,
        "box_width": _BOX,
        "box_height": _HEIGHT,
        "left_out": chain.left_out,
    }


class _Position(Struct, frozen=True):
    """The upper left corner of a box in the drawing, in its units."""

    x: int
    y: int


def _drawn_line(link: RoleLink, positions: Mapping[str, _Position]) -> dict[str, str]:
    """Returns the curve from one box to another, and its words: `ci-deploy passes task-role to
    ecs`.
    """
    source = positions[link.source]
    target = positions[link.role]
    # A link to the same or an earlier column goes round the right side.
    is_to_the_right = target.x > source.x
    start = source.x + _BOX
    end = target.x if is_to_the_right else target.x + _BOX
    bend = max(abs(end - start) // 2, 40)
    last = end - bend if is_to_the_right else end + bend
    y = source.y + _HEIGHT // 2
    to_y = target.y + _HEIGHT // 2
    path = f"M{start} {y} C{start + bend} {y} {last} {to_y} "
    way = "assumes" if link.kind is RoleLinkKind.ASSUMED else "passes"
    to = "" if link.kind is RoleLinkKind.ASSUMED else f" to {link.service or 'a service'}"
    words = (
        f"{link.source.rpartition('/')[2]} {way} {link.role.rpartition('/')[2]}{to}"
        f" ({plural(link.count, 'call')})"
    )
    return {"path": f"{path}{end} {to_y}", "words": words}


def _truncated(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"

"""Sections on the paths on which an attacker who controls a run becomes administrator."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from msgspec import Struct, to_builtins

from leastpriv.models import condition_block, grouped
from leastpriv.proposal.boundary import Boundary, LostNeed
from leastpriv.proposal.escalation_paths import (
    Escalation,
    EscalationPath,
    Strength,
    is_administrator,
)
from leastpriv.proposal.preflight import as_text
from leastpriv.report.context import ReportContext
from leastpriv.report.escape import block, code, plain, prose
from leastpriv.report.guide import page_link
from leastpriv.report.phrases import codes, joined, plural, short_arn

_MOST_LINES = 5
_MOST_OTHERS = 2
_ANY = re.compile(r"\{([^}]*)\}")


def escalation_section(context: ReportContext) -> Iterator[str]:
    """Lists the paths to administrator if the first screen does not name all of them, and the
    closed ones.
    """
    leading = context.escalation.leading
    if len(leading) > 1:
        lines = [f"- {path_line(path)}" for path in leading[:_MOST_LINES]]
        if len(leading) > _MOST_LINES:
            lines.append(
                f"- and by {plural(len(leading) - _MOST_LINES, 'further path')}, in"
                " `proposal.json`."
            )
        yield "\n".join([escalation_verdict(context.escalation.after), "", *lines])
    ended = [path for path in context.escalation.closed if path.leads_to_administrator]
    if ended:
        names = codes(dict.fromkeys(action for path in ended for action in path.actions[:1]), 6)
        yield f"The proposal closes {plural(len(ended), 'path')} to administrator, by {names}."


def escalation_title(context: ReportContext) -> str:
    """The title of the fold: how many paths lead to administrator, how many to named roles and
    resources.
    """
    path_count, leading = len(context.escalation.after), len(context.escalation.leading)
    named_paths = f"{path_count - leading:,} to named roles and resources"
    ways = (
        f"{plural(leading, 'path')} to administrator, {named_paths}"
        if path_count
        else "no path to more permissions"
    )
    return f"Escalation: {ways}"


def reach_section(context: ReportContext) -> Iterator[str]:
    """Lists the paths that lead to named roles and resources, or that are open under a condition
    only.
    """
    leading = context.escalation.leading
    other_paths = [path for path in context.escalation.after if path not in leading]
    if other_paths:
        lines = [f"- {path_line(path)}" for path in other_paths[:_MOST_OTHERS]]
        if len(other_paths) > _MOST_OTHERS:
            lines.append(f"- and {plural(len(other_paths) - _MOST_OTHERS, 'further path')}")
        yield "\n".join(["Paths to named roles and resources:", "", *lines])


def boundary_section(context: ReportContext) -> Iterator[str]:
    """Offers a permissions boundary for the roles that the role creates, with the steps that put it
    into force.
    """
    boundary = context.boundary
    if boundary is None:
        return
    if context.is_long_draft and not boundary.path:
        yield (
            "**A permissions boundary** limits the roles that this role creates: the input"
            " `boundary-file` drafts one."
        )
        return
    purpose = "limits the roles that this role creates"
    yield f"**A permissions boundary** {purpose}. {_draft_of(boundary)}"
    steps = [*_steps_of(boundary)]
    yield "\n".join(f"{number}. {step}" for number, step in enumerate(steps, start=1))
    if boundary.guards:
        yield block(as_text(boundary.guards, "json", "  "), "json")
    if boundary.is_proved:
        by = "With them" if boundary.guards else "By its conditions"
        yield (
            f"{by} the policy makes no role or user without the boundary, and allows no call"
            " that lifts or rewrites it (proved by the evaluator)."
        )
    yield from _beyond(boundary)


def _draft_of(boundary: Boundary) -> str:
    """What the drafted boundary allows, or where one comes from."""
    path = code(boundary.path)
    if boundary.content:
        return (
            f"{path} allows what their policies in the templates and plans grant, in one document."
            " No path to more permissions is open under it but to roles that have"
            " it, and it allows nothing that lifts it."
        )
    if not boundary.path:
        return "The input `boundary-file` drafts one from the templates and plans of these roles."
    if boundary.draft.unknown or not (boundary.bounded or boundary.unbounded):
        return f"{path} is not drafted: `templates` or `plans` name the policies of these roles."
    return f"{path} is the file of theirs."


def _steps_of(boundary: Boundary) -> Iterator[str]:
    """The steps that put a boundary into force, in an order in which no deployment fails."""
    yield f"Deploy it as the managed policy {code(boundary.arn)}."
    place_words = "of each role in the templates"
    if boundary.unbounded:
        place_words = f"of {codes(boundary.unbounded, _MOST_LINES)}"
    elif boundary.bounded:
        place_words = f"of {codes(boundary.bounded, _MOST_LINES)}: done"
    names = "`PermissionsBoundary` (Terraform: `permissions_boundary`)"
    yield f"Set it as {names} {place_words}, and deploy."
    if boundary.guards:
        yield (
            "Add these statements to the policy: they deny a role without the boundary, and what"
            " lifts or rewrites it:"
        )


def _beyond(boundary: Boundary) -> Iterator[str]:
    """What the drafted boundary does not allow, and what it does not know."""
    lines = [*lost_lines(boundary.draft.lost)]
    if lines:
        yield "\n".join(["The boundary denies what policies of the roles grant:", "", *lines])
    lines = [*lost_lines(boundary.draft.left_open)]
    if lines:
        head = (
            "The boundary leaves open what policies of the roles grant; name the resources there:"
        )
        yield "\n".join([head, "", *lines])
    if boundary.draft.unknown:
        unknown = [f"- {prose(text)}" for text in boundary.draft.unknown[:_MOST_LINES]]
        yield "\n".join(["The boundary does not know:", "", *unknown])


def lost_lines(lost: Sequence[LostNeed]) -> Iterator[str]:
    """Lists what a boundary does not allow, one line for each role, reason and resources."""
    actions_by_loss = grouped(
        [
            ((lost_need.role, lost_need.reason, lost_need.resources), lost_need.action)
            for lost_need in lost
        ]
    )
    for (role, reason, resources), actions in actions_by_loss.items():
        resource_words = codes(resources, 2)
        yield (
            f"- {code(role)}: {codes(dict.fromkeys(actions), 6)} on {resource_words}:"
            f" {prose(reason)}."
        )


def escalation_verdict(paths: Sequence[EscalationPath]) -> str:
    """The sentence before the list of paths; empty without a path to administrator."""
    if is_administrator(paths):
        return (
            "**Administrator in effect.** An attacker who controls one run becomes administrator of"
            " the account by:"
        )
    if any(path.leads_to_administrator for path in paths):
        condition_words = "where the account has a role, user or resource with such permissions"
        return f"**Still lets an attacker become administrator**, {condition_words}, by:"
    opening_words = "**Still lets an attacker act as a role with wide permissions** by:"
    return opening_words if any(path.known for path in paths) else ""


def path_sentence(path: EscalationPath) -> str:
    """One path in plain text, for a log or an annotation."""
    target = joined([*path.targets[:3], *(["others"] if len(path.targets) > 3 else [])])
    how = _ANY.sub(lambda found: target or found[1], path.how)
    return plain(
        f"{how}"
        f" ({', '.join(path.actions)}){_only_if([condition.key for condition in path.conditions])}",
        600,
    )


def escalation_value(context: ReportContext) -> dict[str, object]:
    """The open paths before and after the proposal for machines."""
    escalation = context.escalation
    return {
        "administrator_before": is_administrator(escalation.before),
        "administrator_after": is_administrator(escalation.after),
        "before": [_path_value(path) for path in escalation.before],
        "after": [_path_value(path) for path in escalation.after],
        "closed": [path.id for path in escalation.closed],
        "undecided_by": list(escalation.undecided_by),
        "boundary": (
            {
                "file": context.boundary.path or None,
                "drafted": bool(context.boundary.content),
                "arn": context.boundary.arn,
                "proved": context.boundary.is_proved,
                "statements": to_builtins(context.boundary.guards),
                "roles_without": list(context.boundary.unbounded),
                "denied": to_builtins(context.boundary.draft.lost),
                "left_open": to_builtins(context.boundary.draft.left_open),
                "unknown": list(context.boundary.draft.unknown),
            }
            if context.boundary
            else None
        ),
    }


def path_line(path: EscalationPath, *, is_short: bool = False) -> str:
    """One path in Markdown, with its actions and what else it depends on.

    Args:
        path: The path.
        is_short: Whether targets are named without the parts that all ARNs of an account share.
    """
    target = codes(map(short_arn, path.targets), 2) if is_short else codes(path.targets, 3)
    how = _ANY.sub(lambda found: target or found[1], path.how)
    known_words = f", which {path.known}" if path.known else ""
    secrets = ", among which credentials may be" if path.strength is Strength.SECRETS else ""
    return (
        f"{how}{known_words}{secrets}"
        f" ({codes(path.actions)})"
        f"{_only_if([code(condition.key) for condition in path.conditions])}"
    )


def _only_if(keys: Sequence[str]) -> str:
    return f", only under its conditions on {joined(keys[:3])}" if keys else ""


def _path_value(path: EscalationPath) -> dict[str, object]:
    conditions = condition_block(path.conditions)
    return {
        **to_builtins(path),
        "how": path_sentence(path),
        "conditions": conditions,
        "known": path.known or None,
    }


class PathEffect(Struct, frozen=True):
    """What a change does to the paths to more permissions."""

    escalation: Escalation
    guide: str
    """Folder of the guide's pages."""
    is_draft: bool
    has_changes: bool

    def line(self) -> str:
        """Returns one line in Markdown; empty without a path before and after."""
        before = [
            path for path in self.escalation.before if path.leads_to_administrator or path.known
        ]
        after = self.escalation.leading
        if not after:
            first = _closed_line(before) or _undecided_line(self.escalation.undecided_by)
            return " ".join(filter(None, [first, self._to_named_roles()]))
        earlier_ids = {path.id for path in before}
        new = [path for path in after if path.id not in earlier_ids]
        is_whole = is_administrator(self.escalation.after)
        gain = "become administrator" if is_whole else "gain more permissions"
        how = f"{_leading_path(new or after)} ({self._about()})"
        return f"**{self._label(is_new=bool(new))}** an attacker in one run can {gain} by {how}."

    def _label(self, *, is_new: bool) -> str:
        if self.is_draft:
            return "With this policy"
        if is_new and self.has_changes:
            return "New with this change:"
        return "Still open:" if self.has_changes else "Open path:"

    def _to_named_roles(self) -> str:
        """Returns the path to a named role or resource, a new one first; empty without one."""
        earlier_ids = {path.id for path in self.escalation.before}
        new = [path for path in self.escalation.after if path.id not in earlier_ids]
        paths = new or self.escalation.after
        if not paths:
            return ""
        first, *further_paths = paths
        further_words = (
            f"; and by {plural(len(further_paths), 'further path')}" if further_paths else ""
        )
        how = f"{path_line(first, is_short=True)}, which gives administrator {_only_where(first)}"
        label = self._label(is_new=bool(new))
        return (
            f"**{label}** an attacker in one run can gain more permissions by {how}{further_words}"
            f" ({self._about()})."
        )

    def _about(self) -> str:
        return page_link(self.guide, "about these paths", "escalation")


def _undecided_line(names: Sequence[str]) -> str:
    if not names:
        return ""
    decide = "decides" if len(names) == 1 else "decide"
    return (
        "**A path to administrator cannot be ruled out:** only the rendered file shows what"
        f" {codes(names, 3)} {decide}."
    )


def _closed_line(before: Sequence[EscalationPath]) -> str:
    if not before:
        return ""
    actions = dict.fromkeys(action for path in before for action in path.actions[:1])
    return f"**Closed:** {plural(len(before), 'path')} to administrator, by {codes(actions, 4)}."


def _only_where(path: EscalationPath) -> str:
    """Returns on which condition a path to named roles and resources gives administrator."""
    if path.strength is Strength.SECRETS:
        return "only if these credentials have it"
    if not path.targets:
        return "only where these conditions hold" if path.conditions else "only if that role has it"
    names = codes(map(short_arn, path.targets), 2)
    # What only a rendered file shows is no ARN.
    is_identity = re.match(r"arn:[^:]*:(?:iam|sso):", path.targets[0]) is not None
    owner = names if is_identity else f"the role of {names}"
    return f"only if {'one of ' if len(path.targets) > 1 else ''}{owner} has it"


def _leading_path(paths: Sequence[EscalationPath]) -> str:
    further_words = f"; and {plural(len(paths) - 1, 'further path')}" if len(paths) > 1 else ""
    return f"{path_line(paths[0], is_short=True)}{further_words}"

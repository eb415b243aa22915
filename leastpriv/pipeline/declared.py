"""Adds what templates and plans declare to the evidence of a target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from leastpriv.evidence.models import Evidence
from leastpriv.models import Need
from leastpriv.pipeline.context import Target

if TYPE_CHECKING:
    from leastpriv.evidence.declared.models import Declaration


def declarations_of(target: Target) -> tuple[Declaration, ...]:
    """Reads the templates and plans of a target in its workspace.

    Raises:
        InputError: one cannot be read.
    """
    settings = target.settings
    if not (settings.templates or settings.plans):
        return ()
    from leastpriv.evidence.declared.models import Place
    from leastpriv.evidence.declared.read import read_declarations

    place = Place.of(target.role, settings.aws_regions)
    return read_declarations(settings.templates, settings.plans, target.role, place, target.workspace)


def with_declarations(evidence: Evidence, declarations: Sequence[Declaration], target: Target) -> Evidence:
    """Returns the evidence with the needs of declarations, and the types that no table knows."""
    if not declarations:
        return evidence
    from leastpriv.evidence.declared.models import Place
    from leastpriv.evidence.declared.needs import needs_of
    from leastpriv.permissions.tool_lifecycle import Phase

    place = Place.of(target.role, target.settings.aws_regions)
    needs: dict[Need, None] = {}
    later: dict[Need, None] = {}
    for declaration in declarations:
        needs.update(dict.fromkeys(needs_of(declaration, place)))
        later.update(dict.fromkeys(needs_of(declaration.with_phases(Phase.UPDATE, Phase.DELETE), place)))
    known = {need.permission for need in needs}
    further = tuple(need for need in later if need.permission not in known)
    found = evidence.aws_findings.declared
    actions = {**found.actions, **{need.permission.action: (need.because,) for need in later}}
    merged = replace(
        found,
        actions=actions,
        needs=(*needs, *(further if target.settings.drafts_all_phases else ())),
        later_needs=() if target.settings.drafts_all_phases else further,
        sources=tuple(declaration.source for declaration in declarations),
        unread=tuple(sorted({name for declaration in declarations for name in declaration.unknown_types})),
    )
    return replace(evidence, aws_findings=replace(evidence.aws_findings, declared=merged))

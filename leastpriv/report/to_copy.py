"""The proposed policy in Terraform's own language: that is read and not edited, so that a person copies it."""

from __future__ import annotations

from collections.abc import Iterator

from leastpriv.policy.hcl_text import hcl_of
from leastpriv.report.escape import block, code
from leastpriv.report.subject import Subject

_LONGEST = 20_000
"""Characters; a longer one would leave no room for the evidence. A large policy has 10,000."""


def to_copy(subject: Subject) -> Iterator[str]:
    """The section with the proposed statements, where the policy file cannot be edited and something changes."""
    document = subject.draft.document
    if document.editable or not subject.draft.changes:
        return
    name = code(subject.policy_file)
    text = block(hcl_of(document), "hcl")
    if len(text) > _LONGEST:
        text = "*It is too long for this page: `policy.tf` beside this report has it.*"
    what = "the statements" if document.pointer.startswith(("data.", "/data/")) else "the argument of `jsonencode`"
    yield (
        f"### To copy\n\n{name} is Terraform's own language, which is read here and not edited. In place of {what} "
        f"there, the proposal is:\n\n{text}"
    )

"""Who may assume the reader role: jobs of one repository on one branch, by GitHub's login for workflows (OIDC).

GitHub writes the subject of its tokens in two forms: by names, `repo:OWNER/NAME:…`, and for repositories made, renamed
or transferred since 2026-07-15, or that opted in, by names and ids that never change, `repo:OWNER@ID/NAME@ID:…`
(https://docs.github.com/en/actions/reference/security/oidc#immutable-subject-claims, read 2026-11-24). A repository
has one of them at a time, and the role takes both, so that a switch breaks nothing.
"""

from __future__ import annotations

ISSUER = "token.actions.githubusercontent.com"
AUDIENCE = "sts.amazonaws.com"
"""What aws-actions/configure-aws-credentials asks for where nobody says otherwise."""


def subjects(owner: str, name: str, branch: str, owner_id: str, repository_id: str) -> tuple[str, str]:
    """The subjects of jobs on a branch: by names, and by names and ids.

    Each argument may be a template's own expression, as `${RepositoryOwner}`.
    """
    where = f"ref:refs/heads/{branch}"
    return f"repo:{owner}/{name}:{where}", f"repo:{owner}@{owner_id}/{name}@{repository_id}:{where}"


ADVICE = (
    "By names, then by ids. Once the repository uses ids, remove the first: a name can be given up and taken by others."
)
"""A comment for whoever reads the trust policy."""

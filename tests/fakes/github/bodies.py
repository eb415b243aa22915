"""Creates the bodies of answers: the state of the fake merged into the examples of GitHub's
description.

The examples supply dozens of links that no client interprets; every address in them is changed to
this server, so that a client that follows one does not leave it.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from tests.fakes.github.git_repository import Commit, FileChange, Signature
from tests.fakes.github.records import Label
from tests.fakes.github.world import World

Body = dict[str, Any]
_EXAMPLE_API = re.compile(r"https?://api\.github\.com/repos/[\w.-]+/[\w.-]+")
_EXAMPLE_PAGE = re.compile(
    r"https://github\.com/(?:octocat|octo-org|octokit|github)/[\w.-]+(?=[/\"])"
)
_USER_LINKS = (
    "followers", "gists", "starred", "subscriptions", "organizations", "repos", "events",
    "received_events",
    "following",
)  # fmt: skip
_LEGACY_PERMISSIONS = {"maintain": "write", "triage": "read"}
"""`permission` knows four levels, `role_name` six (the endpoint's own documentation)."""


def node_id(kind: str, key: object) -> str:
    """A global id, as opaque as GitHub's."""
    return f"{kind}_{base64.urlsafe_b64encode(str(key).encode()).decode().rstrip('=')}"


def utc(date: str) -> str:
    """A commit's date as GitHub writes it."""
    return datetime.fromisoformat(date).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Bodies:
    """Creates bodies for one server; `api` and `web` are its base addresses without a slash at the
    end.
    """

    world: World
    api: str
    web: str
    examples: dict[str, Body]

    def example(self, name: str) -> Any:
        """A copy of one of GitHub's examples, with its addresses changed to this server."""
        text = json.dumps(self.examples[name]["value"])
        text = _EXAMPLE_API.sub(self.url(), text)
        text = _EXAMPLE_PAGE.sub(self.page(), text)
        return json.loads(re.sub(r"https?://api\.github\.com", self.api, text))

    def url(self, path: str = "") -> str:
        """An address of the API below the repository."""
        return f"{self.api}/repos/{self.world.full_name}{path}"

    def page(self, path: str = "") -> str:
        """An address of the web pages below the repository."""
        return f"{self.web}/{self.world.full_name}{path}"

    def user(self, login: str) -> Body:
        """A simple user."""
        account = self.world.account(login)
        url = f"{self.api}/users/{quote(login)}"
        return {
            "login": login,
            "id": account.id,
            "node_id": node_id("U", account.id),
            "avatar_url": f"{self.web}/avatars/{account.id}",
            "gravatar_id": "",
            "url": url,
            "html_url": f"{self.web}/{quote(login)}",
            **{f"{link}_url": f"{url}/{link}" for link in _USER_LINKS},
            "type": account.kind,
            "site_admin": False,
        }

    def maybe_user(self, login: str | None) -> Body | None:
        """A simple user, or null."""
        return self.user(login) if login else None

    def private_user(self, login: str) -> Body:
        """The body of `/user` for the token's owner."""
        body = self.example("private-user-response-with-public-and-private-profile-information")
        return {**body, **self.user(login), "name": login, "email": None}

    def team(self, slug: str) -> Body:
        """A team."""
        number = self.world.teams[slug]
        return {
            "id": number,
            "node_id": node_id("T", number),
            "name": slug,
            "slug": slug,
            "description": None,
            "privacy": "closed",
            "notification_setting": "notifications_enabled",
            "permission": "push",
            "url": f"{self.api}/teams/{number}",
            "html_url": f"{self.web}/orgs/{self.world.owner}/teams/{slug}",
            "members_url": f"{self.api}/teams/{number}/members{{/member}}",
            "repositories_url": f"{self.api}/teams/{number}/repos",
            "type": "organization",
            "organization_id": self.world.account(self.world.owner).id,
            "parent": None,
        }

    def team_full(self, slug: str) -> Body:
        """A team as its own page returns it."""
        body = self.example("team-full")
        organization = {**body["organization"], "login": self.world.owner, "archived_at": None}
        return {**body, **self.team(slug), "organization": organization}

    def repository(self, permissions: dict[str, bool]) -> Body:
        """The repository; `permissions` are those of the caller."""
        body = self.example("full-repository-default-response")
        for other in ("parent", "source", "template_repository", "temp_clone_token", "license"):
            del body[other]
        facts = {"license": None, "language": None, "organization": self.user(self.world.owner)}
        return {**body, **self._repository_facts(), **facts, "permissions": permissions}

    def short_repository(self, body: Body) -> Body:
        """An example of a repository inside another body, changed to this repository."""
        return {**body, **self._repository_facts()}

    def fork(self, body: Body, full_name: str) -> Body:
        """The body of the repository, changed to a fork."""
        owner, _, name = full_name.partition("/")
        return {
            **body,
            "id": self.world.forks[full_name],
            "node_id": node_id("R", full_name),
            "name": name,
            "full_name": full_name,
            "owner": self.user(owner),
            "fork": True,
            "url": f"{self.api}/repos/{full_name}",
            "html_url": f"{self.web}/{full_name}",
        }

    def _repository_facts(self) -> Body:
        world = self.world
        return {
            "id": world.id,
            "node_id": node_id("R", world.full_name),
            "name": world.name,
            "full_name": world.full_name,
            "owner": self.user(world.owner),
            "private": world.private,
            "visibility": "private" if world.private else "public",
            "default_branch": world.default_branch,
            "url": self.url(),
            "html_url": self.page(),
        }

    def permission(self, login: str) -> Body:
        """The permission of a person on the repository."""
        role = self.world.role(login)
        user = {**self.user(login), "role_name": role}
        return {"permission": _LEGACY_PERMISSIONS.get(role, role), "role_name": role, "user": user}

    def label(self, label: Label) -> Body:
        """A label."""
        return {
            "id": label.id,
            "node_id": node_id("LA", label.id),
            "url": self.url(f"/labels/{quote(label.name, safe='')}"),
            "name": label.name,
            "color": label.color,
            "default": False,
            "description": label.description,
        }

    def ref(self, name: str, oid: str) -> Body:
        """A git reference by its full name."""
        kind = self.world.git.kind(oid) or "commit"
        return {
            "ref": name,
            "node_id": node_id("REF", name),
            "url": self.url(f"/git/{name}"),
            "object": {"sha": oid, "type": kind, "url": self.url(f"/git/{kind}s/{oid}")},
        }

    def git_commit(self, commit: Commit) -> Body:
        """A commit as the git database endpoints show it."""
        return {
            "sha": commit.sha,
            "node_id": node_id("C", commit.sha),
            "url": self.url(f"/git/commits/{commit.sha}"),
            "html_url": self.page(f"/commit/{commit.sha}"),
            "author": self.signature(commit.author),
            "committer": self.signature(commit.committer),
            "message": commit.message,
            "tree": {"sha": commit.tree, "url": self.url(f"/git/trees/{commit.tree}")},
            "parents": [self._parent(sha, "/git/commits/") for sha in commit.parents],
            "verification": self.verification(commit),
        }

    def commit(self, commit: Commit) -> Body:
        """A commit with the accounts of its author and committer."""
        git = self.git_commit(commit)
        url = self.url(f"/commits/{commit.sha}")
        kept = ("author", "committer", "message", "tree", "url", "verification")
        return {
            "sha": commit.sha,
            "node_id": git["node_id"],
            "url": url,
            "html_url": git["html_url"],
            "comments_url": f"{url}/comments",
            "commit": {**{key: git[key] for key in kept}, "comment_count": 0},
            "author": self._account(commit.author),
            "committer": self._account(commit.committer),
            "parents": [self._parent(sha, "/commits/") for sha in commit.parents],
        }

    def _account(self, who: Signature) -> Body | None:
        account = self.world.account_of_email(who.email)
        return self.user(account.login) if account else None

    def _parent(self, sha: str, below: str) -> Body:
        return {"sha": sha, "url": self.url(below + sha), "html_url": self.page(f"/commit/{sha}")}

    def signature(self, who: Signature) -> Body:
        """A git author or committer."""
        return {"name": who.name, "email": who.email, "date": utc(who.date)}

    def verification(self, commit: Commit) -> Body:
        """Whether GitHub verified the commit's signature."""
        signed = commit.sha in self.world.signed
        return {
            "verified": signed,
            "reason": "valid" if signed else "unsigned",
            "signature": (
                "-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----" if signed else None
            ),
            "payload": f"tree {commit.tree}\n" if signed else None,
            "verified_at": utc(commit.committer.date) if signed else None,
        }

    def file_change(self, change: FileChange, head: str) -> Body:
        """One file of a comparison, a commit or a pull request."""
        path = quote(change.path)
        body = {
            "sha": change.sha,
            "filename": change.path,
            "status": change.status,
            "additions": change.additions,
            "deletions": change.deletions,
            "changes": change.additions + change.deletions,
            "blob_url": self.page(f"/blob/{head}/{path}"),
            "raw_url": self.page(f"/raw/{head}/{path}"),
            "contents_url": self.url(f"/contents/{path}?ref={head}"),
        }
        return {**body, "patch": change.patch} if change.patch else body

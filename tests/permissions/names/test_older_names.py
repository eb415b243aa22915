"""What was there before several others came and went is not open to their deletion, whatever it is
called.
"""

from __future__ import annotations

from itertools import product

from hypothesis import example, given
from hypothesis import strategies as st

from leastpriv.permissions.names.app_names import AppNames, read_app_names
from leastpriv.permissions.names.observed import NameUse, RunFacts
from leastpriv.permissions.patterns import resource_covers
from tests.permissions.names.test_ways_of_naming import (
    CREATES,
    DESTROYS,
    resources_of_copy,
    uses,
    written,
)

LASTING = ("prod", "live", "", "stable", "acme", "dev", "test", "prod1", "blue-prod")
PREVIEWS = (
    ("pr-41", "pr-47"),
    ("login", "cart"),
    ("dev-alice", "dev-bob"),
    ("3fa8c1d2", "91bd02e7"),
    ("v1-2", "v1-3"),
    ("2026-11-10", "2026-11-13"),
)
FORMS = ("{app}-{part}-{copy}-{end}", "{copy}-{app}-{part}-{end}", "{app}_{part}_{end}_{copy}")


@st.composite
def apps(draw: st.DrawFn) -> list[list[str]]:
    """The names of copies of an app and its parts: those that last, then two previews."""
    form = draw(st.sampled_from(FORMS))
    app = draw(st.sampled_from(["shop", "dev-portal", "live-chat", "my-test-app"]))
    parts = draw(st.sampled_from([[""], ["web", "api"], ["admin", "admin-api"]]))
    lasting = draw(st.lists(st.sampled_from(LASTING), min_size=1, max_size=3, unique=True))
    copies = list(product(lasting, parts))
    copies += [
        (preview, draw(st.sampled_from(parts))) for preview in draw(st.sampled_from(PREVIEWS))
    ]
    return [
        [
            plain(form.format(app=app, part=part, copy=copy, end=end))
            for end in ("users", "mails", "token")
        ]
        for copy, part in copies
    ]


def plain(name: str) -> str:
    """A name without the signs around a word that it lacks."""
    return name.replace("--", "-").replace("__", "_").strip("-_")


def used(names_by_copy: list[list[str]]) -> tuple[AppNames, list[list[str]]]:
    """The names after all copies were made, and the previews taken down; and the resources."""
    words = {"name": list(range(len(names_by_copy)))}
    resources = []
    for names in names_by_copy:
        table, queue, parameter = names
        app = {"words": words, "names": [f"table/{table}", queue, f"parameter/{parameter}"]}
        resources.append(resources_of_copy(app, 0))
    made: list[NameUse] = []
    runs: list[RunFacts] = []
    for resources_of_one in resources[:-2]:
        runs.append(RunFacts(str(len(runs))))
        made += uses(runs[-1].id, CREATES, resources_of_one)
    for resources_of_one in resources[-2:]:
        for actions in (CREATES, DESTROYS):
            runs.append(RunFacts(str(len(runs))))
            made += uses(runs[-1].id, actions, resources_of_one)
    return read_app_names(made, runs), resources


def apart(form: str, *copies: str) -> list[list[str]]:
    """The names of copies; `form` has the copy and the end of a name."""
    return [[form.format(copy, end) for end in ("users", "mails", "token")] for copy in copies]


ADMIN_BEFORE_COPY = apart(
    "shop-{}-{}", "admin-stable", "admin-api-stable", "admin-3fa8c1d2", "admin-api-91bd02e7"
)
ADMIN_APART_FROM_COPY = [
    *apart("shop_admin_{1}_{0}", "stable"),
    *apart("shop_admin-api_{1}_{0}", "stable"),
    *apart("shop_admin_{1}_{0}", "3fa8c1d2"),
    *apart("shop_admin-api_{1}_{0}", "91bd02e7"),
]


@given(apps())
@example(ADMIN_BEFORE_COPY)
@example(ADMIN_APART_FROM_COPY)
def test_what_was_there_before_several_came_and_went_is_not_open_to_deletion(
    names_by_copy: list[list[str]],
) -> None:
    names, resources = used(names_by_copy)
    for place, action in enumerate(DESTROYS):
        patterns = written(names, action)
        denied = names.denied(action, patterns)
        for lasting in resources[:-2]:
            is_covered = any(resource_covers(pattern, lasting[place]) for pattern in patterns)
            is_denied = any(resource_covers(pattern, lasting[place]) for pattern in denied)
            assert not is_covered or is_denied, (lasting[place], patterns, denied)

"""The config: what the schema takes is what is read, and what is wrong is told with its place."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from leastpriv.aws.assumed_role import AssumedRole
from leastpriv.config.inputs import inputs
from leastpriv.config.settings import Mode, command_inputs
from leastpriv.config.targets_file import (
    SHARED,
    in_organization,
    read_configuration,
    run_settings,
    settings_of,
    target_inputs,
    with_targets,
)
from leastpriv.errors import InputError
from tests.fakes.chains import CI, DEPLOY, EXEC, config, entry

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads(
    (ROOT / "leastpriv" / "config" / "config.schema.json").read_text(encoding="utf-8")
)
EXAMPLE = ROOT / "examples" / "several-roles" / "leastpriv.yml"
READER = "arn:aws:iam::111122223333:role/readers/leastpriv"
TEMPLATE = "arn:aws:iam::{account}:role/leastpriv-reader"
ELSEWHERE = CI.replace("111122223333", "222233334444")
ONE = entry(CI, "iam/ci.json")
ANY_CI = CI.replace("111122223333", "*")
LIKE = "arn:aws:iam::111122223333:role/team-*"
GOOD: dict[str, dict[str, Any]] = {
    "one target": {"targets": [ONE]},
    "all keys of the run": {"targets": [ONE], "follow": False, "discover": True},
    "where first files go": {"targets": [ONE], "discover": "policies/{name}.json"},
    "a user": {"targets": [entry("arn:aws:iam::111122223333:user/ann", "iam/ann.json")]},
    "dials": {
        "targets": [
            {**ONE, "minimum-days": 3, "minimum-runs": "4", "keep": ["s3:*"], "never-add": "iam:*"}
        ]
    },
    "flags": {"targets": [{**ONE, "draft": True, "last-accessed": "false"}]},
    "choices": {"targets": [{**ONE, "resources": "keep", "unseen-services": "drop"}]},
    "a group": {"targets": [{**ONE, "group": "cdk"}, entry(DEPLOY, "iam/d.json", group="cdk")]},
    "a pattern": {"targets": [entry(LIKE, "iam/{name}.json")]},
    "a pattern of users of one policy": {"targets": [entry(LIKE, "iam/team.json")]},
    "a file for each account and name": {
        "targets": [entry("arn:aws:iam::*:role/team-*", "iam/{account}/{name}.json")]
    },
    "users of one policy": {
        "targets": [{"roles": [CI, f"prod={ELSEWHERE}", f"!{DEPLOY}"], "policy-file": "x.json"}]
    },
    "users with labels": {
        "targets": [{"roles": {"prod": CI, "dev": ELSEWHERE}, "policy-file": "x.json"}]
    },
    "accounts": {
        "accounts": ["111122223333", "222233334444"],
        "targets": [entry("arn:aws:iam::*:role/ci-deploy", "iam/ci.json")],
    },
    "accounts without quotes": {
        "accounts": [111122223333, 222233334444],
        "targets": [entry("arn:aws:iam::*:role/ci-deploy", "iam/ci.json")],
    },
    "the accounts of the organization": {
        "accounts": "organization",
        "targets": [entry("arn:aws:iam::*:role/ci-deploy", "iam/ci.json")],
    },
    "a branch": {"targets": [{**ONE, "branch": "leastpriv/x"}]},
    "a reader role": {
        "targets": [
            {**ONE, "assume-role": READER, "external-id": "acme/1", "session-name": "weekly"}
        ]
    },
    "a reader role in every account": {"assume-role": TEMPLATE, "targets": [ONE]},
}
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no targets": ({}, "lists no targets"),
    "an empty list": ({"targets": []}, "lists no targets"),
    "an unknown key": ({"targets": [ONE], "target": 1}, "the unknown key 'target'"),
    "an unknown key of a target": (
        {"targets": [{**ONE, "role": "x"}]},
        "target 1 (line 2) has the unknown key 'role'",
    ),
    "an input of the whole run": ({"targets": [{**ONE, "trails": "x"}]}, "for all targets"),
    "no role": ({"targets": [{"policy-file": "x.json"}]}, "has no role-arn"),
    "no policy file": ({"targets": [{"role-arn": CI}]}, "has no policy-file"),
    "a target that is text": ({"targets": ["x"]}, "is no mapping"),
    "a list of numbers": ({"targets": [{**ONE, "keep": [1]}]}, "neither text"),
    "a mapping as a value": ({"targets": [{**ONE, "keep": {"a": 1}}]}, "neither text"),
    "a group with a slash": ({"targets": [{**ONE, "group": "a/b"}]}, "letters, digits"),
    "group and branch": (
        {"targets": [{**ONE, "group": "a", "branch": "b"}]},
        "both group and branch",
    ),
    "roles as text": ({"targets": [{"roles": CI, "policy-file": "x"}]}, "write a list of ARNs"),
    "an account of eleven digits as number": (
        {"targets": [ONE], "accounts": [11112222333]},
        "an account id has 12 digits",
    ),
    "an account that is a truth value": (
        {"targets": [ONE], "accounts": [True]},
        "an account id has 12 digits",
    ),
    "an account of eleven digits": ({"targets": [ONE], "accounts": ["11112222333"]}, "12 digits"),
    "follow as text": ({"targets": [ONE], "follow": "yes"}, "true or false"),
    "first files without a name": ({"targets": [ONE], "discover": "iam/x.json"}, "discover is"),
    "a session as reader role": (
        {"targets": [{**ONE, "assume-role": f"{READER}/x y"}]},
        "assume-role is",
    ),
    "an external id as number": (
        {"targets": [{**ONE, "assume-role": READER, "external-id": 17}]},
        "quote a number",
    ),
    "an external id without a role": (
        {"targets": [{**ONE, "external-id": "acme"}]},
        "without assume-role",
    ),
    "a session name without a role": ({"session-name": "x", "targets": [ONE]}, "session-name"),
    "first files at the root of the disk": (
        {"targets": [ONE], "discover": "/{name}.json"},
        "discover is",
    ),
}
LINKED = "arn:aws:iam::111122223333:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS"
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a service-linked role": ({"targets": [{**ONE, "role-arn": LINKED}]}, "only AWS can change"),
    "a user that is a service-linked role": (
        {"targets": [{"policy-file": "iam/x.json", "roles": [DEPLOY, LINKED]}]},
        "only AWS can change",
    ),
    "one file of a repository in two spellings": (
        {
            "targets": [
                {**ONE, "repository": "acme/shop"},
                {**ONE, "role-arn": DEPLOY, "repository": "Acme/Shop"},
            ]
        },
        "as in an earlier target",
    ),
    "one branch of a repository in two spellings": (
        {
            "targets": [
                {**ONE, "repository": "acme/shop", "branch": "leastpriv/x"},
                {**entry(DEPLOY, "iam/x.json"), "repository": "Acme/Shop", "branch": "leastpriv/x"},
            ]
        },
        "branch is 'leastpriv/x', as in an earlier target",
    ),
    "one role twice": ({"targets": [ONE, entry(CI, "iam/x.json")]}, "as in an earlier target"),
    "one file twice": (
        {"targets": [ONE, entry(DEPLOY, "iam/ci.json")]},
        "in one target, below roles",
    ),
    "one file in two spellings": (
        {"targets": [ONE, entry(DEPLOY, "./iam//x/../ci.json")]},
        "as in an earlier target",
    ),
    "a group with the branch that another target has by default": (
        {"targets": [ONE, entry(DEPLOY, "iam/d.json", group="ci-deploy")]},
        "branch is 'leastpriv/ci-deploy', as in an earlier target",
    ),
    "a branch that a group has": (
        {
            "targets": [
                {**ONE, "group": "cdk"},
                entry(DEPLOY, "iam/d.json", branch="leastpriv/cdk"),
            ]
        },
        "branch is 'leastpriv/cdk', as in an earlier target",
    ),
    "a branch below another": (
        {"targets": [ONE, entry(DEPLOY, "iam/d.json", branch="leastpriv/ci-deploy/x")]},
        "git does not allow both",
    ),
    "a branch above another": (
        {"targets": [ONE, entry(DEPLOY, "iam/d.json", branch="leastpriv")]},
        "git does not allow both",
    ),
    "roles of any name for one file": (
        {"targets": [entry("arn:aws:iam::*:role/*", "i/x.json")]},
        "roles of any name match",
    ),
    "role-arn and roles": (
        {"targets": [{**ONE, "roles": [DEPLOY]}]},
        "both role-arn and roles",
    ),
    "one label for two roles": (
        {"targets": [{"roles": [f"x={CI}", f"x={DEPLOY}"], "policy-file": "x.json"}]},
        "one label to two roles",
    ),
    "a role that is excluded alone": (
        {"targets": [{"roles": [f"!{CI}"], "policy-file": "x.json"}]},
        "excludes roles and names none",
    ),
    "one role of two in another target": (
        {"targets": [ONE, {"roles": [DEPLOY, CI], "policy-file": "x.json"}]},
        "as in an earlier target",
    ),
    "a pattern of users": (
        {"targets": [entry("arn:aws:iam::111122223333:user/*", "i/{name}.json")]},
        "wildcards may",
    ),
    "a pattern with names as folders": (
        {"targets": [entry(LIKE, "{name}/policy.json")]},
        "write {name} once",
    ),
    "a pattern that leads out": ({"targets": [entry(LIKE, "../{name}.json")]}, "write {name} once"),
    "a pattern with a branch": (
        {"targets": [entry(LIKE, "i/{name}.json", branch="x")]},
        "several roles",
    ),
    "a name without a pattern": (
        {"targets": [entry(CI, "iam/{name}.json")]},
        "only a role-arn with",
    ),
    "one branch twice": (
        {"targets": [{**ONE, "branch": "b"}, entry(DEPLOY, "iam/d.json", branch="b")]},
        "as in an earlier target",
    ),
    "two roles of one name": (
        {"targets": [ONE, entry("arn:aws:iam::111122223333:role/x/ci-deploy", "iam/x.json")]},
        "branch is 'leastpriv/ci-deploy', as in an earlier target",
    ),
    "a branch that another target has by default": (
        {"targets": [ONE, entry(DEPLOY, "iam/d.json", branch="leastpriv/ci-deploy")]},
        "branch is 'leastpriv/ci-deploy', as in an earlier target",
    ),
    "a reader role of another account": (
        {"targets": [entry(ELSEWHERE, "iam/x.json", assume_role=READER)]},
        "a role of another account",
    ),
    "a reader role of another partition": (
        {"assume-role": TEMPLATE.replace("aws", "aws-cn", 1), "targets": [ONE]},
        "a role of another account or partition",
    ),
    "a shared reader role of one account": (
        {"assume-role": READER, "targets": [ONE, entry(ELSEWHERE, "iam/x.json")]},
        "write {account} for it",
    ),
    "two reader roles for one account": (
        {
            "targets": [
                {**ONE, "assume-role": READER},
                entry(DEPLOY, "iam/d.json", assume_role=TEMPLATE),
            ]
        },
        "name them once for each account",
    ),
    "first files that lead out": ({"targets": [ONE], "discover": "../{name}.json"}, "discover is"),
}
"""Beyond what the schema can say."""


def text_of(value: dict[str, Any]) -> bytes:
    further_keys = {key: part for key, part in value.items() if key != "targets"}
    entries = value.get("targets")
    if isinstance(entries, list) and entries and all(isinstance(part, dict) for part in entries):
        return config(entries, **further_keys).encode()
    return json.dumps(value).encode()


@pytest.mark.parametrize("value", GOOD.values(), ids=GOOD)
def test_what_the_schema_takes_is_read(value: dict[str, Any]) -> None:
    Draft202012Validator(SCHEMA).validate(value)
    configuration = read_configuration(text_of(value), "leastpriv.yml")
    assert len(configuration.entries) == len(value["targets"])


def test_the_users_of_a_policy_are_read_in_their_order_with_labels() -> None:
    roles = {"dev": CI, "prod": ELSEWHERE}
    labelled = [f"{label}={arn}" for label, arn in roles.items()]
    for spelling in (roles, labelled):
        value = {"targets": [{"roles": spelling, "policy-file": "x.json"}]}
        (parsed_entry,) = read_configuration(text_of(value), "leastpriv.yml").entries
        assert parsed_entry.users.arns == (CI, ELSEWHERE)
        assert parsed_entry.users.labels == {CI: "dev", ELSEWHERE: "prod"}
        settings = settings_of(
            parsed_entry, parsed_entry.users.arns, command_inputs({"trails": ("trail",)})
        )
        assert settings.spans_accounts
        assert settings.branch == "leastpriv/ci-deploy"


@pytest.mark.parametrize(
    "lines", [(f"- {CI}", f"- !{ELSEWHERE}"), (f"dev: {CI}", f"prod: !{ELSEWHERE}")]
)
def test_a_role_that_is_no_user_needs_no_quotes(lines: tuple[str, str]) -> None:
    roles = "".join(f"      {line}\n" for line in lines)
    text = f"targets:\n  - policy-file: x.json\n    roles:\n{roles}"
    (parsed_entry,) = read_configuration(text.encode(), "leastpriv.yml").entries
    assert (parsed_entry.users.arns, parsed_entry.users.excluded) == ((CI,), (ELSEWHERE,))


def test_accounts_take_the_place_of_a_wildcard() -> None:
    value = {
        "assume-role": TEMPLATE,
        "accounts": ["111122223333", "222233334444"],
        "targets": [entry(CI.replace("111122223333", "*"), "iam/ci.json")],
    }
    configuration = read_configuration(text_of(value), "leastpriv.yml")
    assert configuration.entries[0].users.arns == (CI, ELSEWHERE)
    assert set(configuration.readers) == {"111122223333", "222233334444"}
    of_organization = {**value, "accounts": "organization"}
    configuration = read_configuration(text_of(of_organization), "leastpriv.yml")
    configuration = in_organization(configuration, ["222233334444"])
    assert configuration.entries[0].users.arns == (ELSEWHERE,)
    assert set(configuration.readers) == {"222233334444"}


@pytest.mark.parametrize(
    "written", ["111122223333", "111_122_223_333", "'111122223333'", '"111122223333"']
)
def test_an_account_is_read_with_and_without_quotes(written: str) -> None:
    text = f"accounts: [{written}]\ntargets:\n- policy-file: x.json\n  role-arn: {ANY_CI}\n"
    (parsed_entry,) = read_configuration(text.encode(), "leastpriv.yml").entries
    assert parsed_entry.users.arns == (CI,)
    text = f"targets:\n- policy-file: x.json\n  roles:\n    {written}: {CI}\n"
    (parsed_entry,) = read_configuration(text.encode(), "leastpriv.yml").entries
    assert parsed_entry.users.labels == {CI: written.strip("'\"").replace("_", "")}


ACCOUNTS = f"accounts: [{{}}]\ntargets:\n- {{{{policy-file: x, role-arn: {ANY_CI}}}}}"
DAYS = f"targets:\n- policy-file: x\n  role-arn: {CI}\n  minimum-days: {{}}"


@pytest.mark.parametrize(
    ("lines", "where", "example"),
    [
        (ACCOUNTS.format("001122334455"), "accounts", "001122334455"),
        (f"targets:\n- policy-file: x\n  roles:\n    012345678901: {CI}", "roles", "012345678901"),
        (DAYS.format("035"), "minimum-days", "035"),
        (DAYS.format("0_35"), "minimum-days", "035"),
    ],
)
def test_a_number_that_begins_with_a_zero_needs_quotes(
    lines: str, where: str, example: str
) -> None:
    with pytest.raises(
        InputError, match=f"{where} has a number with a zero at its start"
    ) as raised:
        read_configuration(lines.encode(), "leastpriv.yml")
    assert f"in quotes, as in '{example}'" in str(raised.value)


@pytest.mark.parametrize(
    ("lines", "read"),
    [
        (ACCOUNTS.format("0x19de4cbd05"), "111103753477"),
        (ACCOUNTS.format("0x19DE4CBD05"), "111103753477"),
        (ACCOUNTS.format("0o1474761010635"), "111262568861"),
        (ACCOUNTS.format("0b11"), "3"),
        (ACCOUNTS.format("1_2"), "12"),
        (f"targets:\n- policy-file: x\n  roles:\n    0x10: {CI}", "16"),
        (DAYS.format("0x23"), "35"),
        (DAYS.format("0x0023"), "35"),
        (DAYS.format("1_0"), "10"),
    ],
)
def test_a_number_that_is_not_written_in_digits_needs_quotes(lines: str, read: str) -> None:
    with pytest.raises(InputError, match="not written in digits alone") as raised:
        read_configuration(lines.encode(), "leastpriv.yml")
    assert f"YAML reads as {read}: write it in quotes, or write {read}." in str(raised.value)


@pytest.mark.parametrize("written", ["111122223333", "1111_2222_3333"])
def test_an_account_of_twelve_digits_needs_no_quotes(written: str) -> None:
    (entry,) = read_configuration(ACCOUNTS.format(written).encode(), "leastpriv.yml").entries
    assert entry.users.accounts == ("111122223333",)


@pytest.mark.parametrize(("value", "said"), BAD.values(), ids=BAD)
def test_what_the_schema_rejects_is_bad_input_with_its_location(
    value: dict[str, Any], said: str
) -> None:
    assert not Draft202012Validator(SCHEMA).is_valid(value)
    with pytest.raises(InputError) as raised:
        read_configuration(text_of(value), "leastpriv.yml")
    assert said in str(raised.value)
    assert "leastpriv.yml" in str(raised.value)


@pytest.mark.parametrize(("value", "said"), REFUSED.values(), ids=REFUSED)
def test_what_no_schema_can_express_is_bad_input_too(value: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as raised:
        read_configuration(text_of(value), "leastpriv.yml")
    assert said in str(raised.value)


@pytest.mark.parametrize("name", ["max-changes", "max-pull-requests"])
@pytest.mark.parametrize(
    ("value", "is_valid"),
    [
        *((value, True) for value in ("", "0", "25", 0, 25)),
        *((value, False) for value in ("many", "-1", "1.5", -1, 1.5, True, ["1"])),
    ],
)
def test_a_count_is_an_empty_text_or_a_whole_number(
    name: str, value: object, is_valid: bool
) -> None:
    document = {"settings": {name: value}}
    assert Draft202012Validator(SCHEMA).is_valid(document) is is_valid


def test_the_schema_is_one_and_fresh() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    completed = subprocess.run(
        [sys.executable, ROOT / "tools" / "config_schema.py", "--check"], check=False
    )
    assert completed.returncode == 0


def test_every_input_is_of_the_run_or_of_a_target() -> None:
    assert set(target_inputs()) == {action_input.name for action_input in inputs()} - SHARED
    assert set(target_inputs()) < set(SCHEMA["properties"]["targets"]["items"]["properties"])


def test_the_example_is_valid_and_its_settings_are_sound() -> None:
    raw = EXAMPLE.read_bytes()
    Draft202012Validator(SCHEMA).validate(YAML(typ="safe", pure=True).load(raw))
    configuration = read_configuration(raw, "leastpriv.yml")
    inputs = command_inputs({"trails": ("trail",), "mode": "check"})
    for parsed_entry in configuration.entries:
        settings = settings_of(parsed_entry, [parsed_entry.role.replace("*", "orders")], inputs)
        assert settings.mode is Mode.CHECK
    team = settings_of(
        configuration.entries[-1], [configuration.entries[-1].role.replace("*", "orders")], inputs
    )
    assert (team.policy_file, team.branch) == (
        "iam/teams/orders-deploy.json",
        "leastpriv/orders-deploy",
    )
    cdk = settings_of(configuration.entries[2], [configuration.entries[2].role], inputs)
    assert (cdk.branch, cdk.options.minimum_days, cdk.options.keep) == (
        "leastpriv/cdk",
        60,
        ("*:Delete*",),
    )


def test_the_role_that_one_target_names_reads_the_whole_account() -> None:
    entries = [ONE, entry(DEPLOY, "iam/d.json", assume_role=READER), entry(ELSEWHERE, "iam/x.json")]
    parsed_entries = read_configuration(
        config(entries, **{"assume-role": TEMPLATE}).encode(), "leastpriv.yml"
    ).entries
    readers = [
        reader for parsed_entry in parsed_entries for reader in parsed_entry.readers.values()
    ]
    arns = [reader.arn for reader in readers]
    assert arns == [READER, READER, TEMPLATE.replace("{account}", "222233334444")]
    assert [reader.only_for_other_accounts for reader in readers] == [False, False, True]


def test_branches_name_the_account_where_the_config_has_several() -> None:
    inputs = command_inputs({"trails": ("trail",)})
    own_branch = entry(ELSEWHERE, "iam/y.json", branch="own/name")
    for entries, branches in (
        ([ONE], ["leastpriv/ci-deploy"]),
        ([ONE, own_branch], ["leastpriv/111122223333-ci-deploy", "own/name"]),
        ([{**ONE, "group": "all"}, {**own_branch, "branch": "x/y"}], ["leastpriv/all", "x/y"]),
    ):
        parsed_entries = read_configuration(config(entries).encode(), "leastpriv.yml").entries
        assert [
            settings_of(parsed_entry, [parsed_entry.role], inputs).branch
            for parsed_entry in parsed_entries
        ] == branches


def test_a_wrong_dial_names_its_target() -> None:
    configuration = read_configuration(
        config([{**ONE, "minimum-days": "soon"}]).encode(), "leastpriv.yml"
    )
    inputs = command_inputs({"trails": ("trail",)})
    with pytest.raises(InputError, match=r"target 1 \(line 2\): minimum-days is 'soon'"):
        settings_of(configuration.entries[0], [CI], inputs)


def test_the_run_needs_no_role() -> None:
    inputs = command_inputs({"trails": ("trail",), "config": "leastpriv.yml"})
    assert run_settings(inputs).policy_file == "leastpriv.yml"


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xfe\x00",
        b"targets: [",
        b"a: &a [*a]",
        b"- 1",
        b"x" * 300_000,
        b"targets: {a: 1}",
        b"\t",
    ],
)
def test_any_other_content_is_bad_input(raw: bytes) -> None:
    with pytest.raises(InputError):
        read_configuration(raw, "leastpriv.yml")


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_config_or_bad_input(raw: bytes) -> None:
    try:
        configuration = read_configuration(raw, "leastpriv.yml")
    except InputError:
        return
    assert configuration.entries


TEXTS = (
    "targets:\n  - role-arn: {ci}\n    policy-file: iam/ci.json\n",
    "# a\ntargets:\n- role-arn: {ci}\n  policy-file: iam/ci.json  # here\n\n# b\nfollow: true\n",
    (
        "targets:\r\n    - policy-file: iam/ci.json\r\n      role-arn: {ci}\r\n      keep:\r\n     "
        "   - s3:*\r\n# end"
    ),
    "follow: false\ntargets:\n  -   role-arn: {ci}\n      policy-file: iam/ci.json",
    "targets:\n  - role-arn: {ci}\n    policy-file: iam/ci.json\n...\n",
)


@pytest.mark.parametrize("text", TEXTS)
def test_entries_are_added_and_no_other_line_changes(text: str) -> None:
    raw = text.format(ci=CI).encode()
    added = [(DEPLOY, "iam/deploy.json"), (EXEC, "@odd, name.json")]
    changed = with_targets(raw, "leastpriv.yml", added)
    assert changed is not None
    lines, after = raw.splitlines(), changed.splitlines()
    assert [line for line in after if line in lines] == lines
    configuration = read_configuration(changed, "leastpriv.yml")
    assert [
        (parsed_entry.role, parsed_entry.values["policy-file"])
        for parsed_entry in configuration.entries[1:]
    ] == added
    assert (b"\r\n" in changed) == (b"\r\n" in raw)


def test_a_list_in_brackets_is_left_to_its_owner() -> None:
    raw = json.dumps({"targets": [ONE]}).encode()
    assert with_targets(raw, "leastpriv.yml", [(DEPLOY, "iam/deploy.json")]) is None


NAMES = st.text(alphabet="abcAZ09+=,.@_-", min_size=1, max_size=64)


@given(st.sampled_from(TEXTS), st.lists(NAMES, min_size=1, max_size=4, unique=True))
def test_whatever_iam_takes_as_a_name_comes_back_as_it_was(text: str, names: list[str]) -> None:
    added = [(f"arn:aws:iam::111122223333:role/x-{name}", f"iam/{name}.json") for name in names]
    changed = with_targets(text.format(ci=CI).encode(), "leastpriv.yml", added)
    assert changed is not None
    parsed_entries = read_configuration(changed, "leastpriv.yml").entries[1:]
    assert [
        (parsed_entry.role, parsed_entry.values["policy-file"]) for parsed_entry in parsed_entries
    ] == added


def test_a_target_s_own_role_keeps_the_external_id_and_session_name_of_the_run() -> None:
    shared = {"assume-role": TEMPLATE, "external-id": "acme/1", "session-name": "weekly"}
    own_reader = {**shared, "targets": [{**ONE, "assume-role": READER}]}
    (reader,) = read_configuration(json.dumps(own_reader).encode(), "x").readers.values()
    assert (reader.arn, reader.external_id) == (READER, "acme/1")
    assert reader.session_name == "weekly"
    other_reader = {**shared, "targets": [{**ONE, "assume-role": READER, "external-id": "other"}]}
    (reader,) = read_configuration(json.dumps(other_reader).encode(), "x").readers.values()
    assert reader.external_id == "other"


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"GITHUB_RUN_ID": "17650000099"}, "leastpriv-17650000099"),
        ({"GITHUB_RUN_ID": "x y"}, "leastpriv"),
        ({}, "leastpriv"),
    ],
)
def test_a_reader_s_session_is_named_by_the_run(environment: dict[str, str], name: str) -> None:
    assert AssumedRole(READER).named_by_run(environment).session_name == name
    weekly = AssumedRole(READER, session_name="weekly")
    assert weekly.named_by_run(environment).session_name == "weekly"


@pytest.mark.parametrize("raw", [b"{\n [  {\n a: b } ] }", b"? {a: b}\n: 1\n", b"{{a: 1}: 2}"])
def test_a_key_that_is_a_mapping_or_a_list_is_no_crash(raw: bytes) -> None:
    with pytest.raises(InputError):
        read_configuration(raw, "x")


def test_a_config_may_have_any_number_of_targets() -> None:
    roles = [f"arn:aws:iam::{111122223333 + number}:role/ci-deploy" for number in range(500)]
    lines = [
        f"  - role-arn: {role}\n    policy-file: iam/{number}.json\n"
        for number, role in enumerate(roles)
    ]
    configuration = read_configuration(f"targets:\n{''.join(lines)}".encode(), "leastpriv.yml")
    assert [entry.users.arns for entry in configuration.entries] == [(role,) for role in roles]

"""`Resource: "*"` is restricted to exact resources that enough runs used, with none new of late."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from msgspec import structs

from leastpriv.diff.compare import compare
from leastpriv.models import ChangeKind, Gap, GapKind, Outcome, Scope, Usage
from leastpriv.permissions.arn_templates import IN_PART, NAMED
from leastpriv.permissions.resource_types import creates_its_resource
from leastpriv.policy.document import Document, parse
from leastpriv.proposal.grants_on_all import without_folded
from leastpriv.proposal.models import Change, GuardResult, Options, Proposal, UnseenServices
from leastpriv.proposal.proof import prove
from leastpriv.proposal.propose import propose
from leastpriv.proposal.stability import with_items
from tests.fakes.evidence import evidence, usage
from tests.fakes.replace import replace

FUNCTION = "arn:aws:lambda:eu-west-1:111122223333:function:orders"
UPDATE = "lambda:UpdateFunctionCode"
CREATE = "lambda:CreateFunction"


def document(*actions: str, **more: object) -> Document:
    statement = {"Sid": "Wide", "Effect": "Allow", "Action": list(actions), "Resource": "*", **more}
    return parse(json.dumps({"Version": "2012-10-17", "Statement": [statement]}).encode(), "p.json")


def draft(
    committed: Document,
    usages: Sequence[Usage],
    options: Options | None = None,
    gaps: Sequence[Gap] = (),
) -> Proposal:
    evidence_of_calls = replace(evidence(usages), gaps=tuple(gaps))
    proposed = propose(
        committed,
        compare(committed, [], evidence_of_calls),
        evidence_of_calls,
        options or Options(),
    )
    proof = prove(proposed, [], evidence_of_calls)
    assert (proof.new_access, proof.newly_denied, proof.replay.denied) == ((), (), ())
    return proposed


def onto(made: Proposal) -> dict[str, tuple[str, ...]]:
    return {change.action: change.restricted_to for change in made.changes if change.restricted_to}


def guards(made: Proposal) -> dict[str, str]:
    return {
        held_back.action: held_back.guard_result.guard for held_back in made.held_back_restrictions
    }


def test_a_used_action_is_restricted_to_the_resources_that_every_run_used() -> None:
    proposed = draft(document(UPDATE), [usage(UPDATE, FUNCTION)])
    assert onto(proposed) == {UPDATE: (FUNCTION,)}
    assert proposed.document.statements[0].resources == (FUNCTION,)


def test_the_actions_of_a_narrowed_wildcard_are_restricted_to_resources_too() -> None:
    proposed = draft(document("lambda:*"), [usage(UPDATE, FUNCTION)])
    assert onto(proposed)[UPDATE] == (FUNCTION,)
    assert onto(proposed)["lambda:UpdateFunctionConfiguration"] == (FUNCTION,)
    assert set(onto(proposed).values()) == {(FUNCTION,)}
    grants = {statement.resources: statement.actions for statement in proposed.document.statements}
    assert UPDATE in grants[FUNCTION,]
    assert ("*",) not in grants


def test_a_folded_wildcard_that_would_grant_a_restricted_action_is_written_out() -> None:
    kept_actions = {
        "s3:GetObject": GuardResult("not-visible", ""),
        "s3:GetObjectAcl": GuardResult("not-visible", ""),
    }
    narrowed = Change(
        ChangeKind.NARROW, "s3:Get*", ("*",), 0, used=("s3:GetObjectTagging",), kept=kept_actions
    )
    narrowed = replace(narrowed, replacement=("s3:GetObject*", "s3:GetBucketTagging"))
    restricted = Change(
        ChangeKind.NARROW, "s3:Get*", ("*",), 0, used=("s3:GetObjectTagging",), restricted_to=("x",)
    )
    [change] = without_folded([narrowed], [restricted])
    assert change.replacement == (
        "s3:GetBucketTagging",
        "s3:GetObject",
        "s3:GetObjectAcl",
        "s3:GetObjectTagging",
    )


def test_names_that_change_with_every_run_become_one_pattern() -> None:
    usages = [usage(UPDATE, f"{FUNCTION}-{4000 + run * 37}", [run]) for run in range(12)]
    assert onto(draft(document(UPDATE), usages)) == {UPDATE: (f"{FUNCTION}-*",)}


def test_copies_of_the_earlier_runs_show_the_pattern_of_the_later_ones() -> None:
    account, names = (
        "eu-west-1:111122223333",
        ("aspen", "birch", "cedar", "elm", "hazel", "maple", "oak", "rowan"),
    )
    created = {
        "sqs:CreateQueue": f"sqs:{account}:Shop%sJobs",
        "sns:CreateTopic": f"sns:{account}:Shop%sNews",
    }
    created[CREATE] = f"lambda:{account}:function:Shop%sApi"
    usages = [
        usage(action, f"arn:aws:{name % word.title()}", [run])
        for action, name in created.items()
        for run, word in enumerate(names)
    ]
    proposed = draft(document(*created), usages)
    assert onto(proposed) == {
        action: (f"arn:aws:{name % '*'}",) for action, name in created.items()
    }


def test_a_call_without_a_clear_outcome_on_a_used_resource_does_not_keep_all_resources() -> None:
    throttled = replace(usage(UPDATE, FUNCTION, [1]), outcome=Outcome.UNKNOWN)
    proposed = draft(document(UPDATE), [throttled, usage(UPDATE, FUNCTION)])
    assert (onto(proposed), guards(proposed)) == ({UPDATE: (FUNCTION,)}, {})


@pytest.mark.parametrize(
    ("usages", "guard"),
    [
        ([usage(UPDATE, FUNCTION, range(4)), usage("lambda:ListFunctions", "*")], "few-runs"),
        ([usage(UPDATE, FUNCTION), usage(UPDATE, f"{FUNCTION}-once", [2])], "few-runs"),
        (
            [usage(UPDATE, FUNCTION), usage(UPDATE, f"{FUNCTION}-late", range(7, 12))],
            "new-resources",
        ),
        ([usage(UPDATE, f"{FUNCTION}*", exact=False)], "unknown-resource"),
        (
            [
                replace(usage(UPDATE, f"{FUNCTION}-b", [1]), outcome=Outcome.UNKNOWN),
                usage(UPDATE, FUNCTION),
            ],
            "inconclusive",
        ),
        ([usage(CREATE, FUNCTION)], "makes-new"),
    ],
)
def test_an_action_that_later_runs_may_use_elsewhere_remains_on_all_resources(
    usages: list[Usage], guard: str
) -> None:
    action = usages[0].need.permission.action
    committed = document(action, "lambda:ListFunctions")
    proposed = draft(committed, usages, Options(keep=("lambda:ListFunctions",)))
    assert (onto(proposed), guards(proposed)) == ({}, {action: guard})
    assert proposed.document.text == committed.text


def test_an_action_remains_on_all_resources_while_the_creating_action_does() -> None:
    proposed = draft(document(CREATE, UPDATE), [usage(CREATE, FUNCTION), usage(UPDATE, FUNCTION)])
    assert guards(proposed) == {CREATE: "makes-new", UPDATE: "sibling"}


def test_a_creating_action_with_a_pattern_is_restricted_together_with_the_changing_actions() -> (
    None
):
    made_anew = [usage(CREATE, f"{FUNCTION}-{4000 + run * 37}", [run]) for run in range(12)]
    updated = [usage(UPDATE, f"{FUNCTION}-{4000 + run * 37}", [run]) for run in range(6)]
    proposed = draft(document(CREATE, UPDATE), [*made_anew, *updated])
    assert onto(proposed) == {CREATE: (f"{FUNCTION}-*",), UPDATE: (f"{FUNCTION}-*",)}


GET = "lambda:GetFunction"
OTHER = "arn:aws:lambda:eu-west-1:111122223333:function:bills"


def test_an_action_of_few_runs_is_restricted_to_all_resources_of_its_type_from_enough_runs() -> (
    None
):
    """One function was updated twice, and every run reads two: the next update may be of either,
    not of a third.
    """
    proposed = draft(
        document(UPDATE), [usage(UPDATE, FUNCTION, [1, 3]), usage(GET, FUNCTION), usage(GET, OTHER)]
    )
    assert onto(proposed) == {UPDATE: (OTHER, FUNCTION)}


@pytest.mark.parametrize(
    ("others", "guard"),
    [
        ([usage(GET, FUNCTION), usage(GET, OTHER, [2])], "few-runs"),
        ([usage(GET, FUNCTION), usage(GET, OTHER, range(7, 12))], "new-resources"),
        ([usage(GET, FUNCTION, range(3))], "few-runs"),
        ([usage("sns:Publish", "arn:aws:sns:eu-west-1:111122223333:orders")], "few-runs"),
    ],
    ids=["one of them once", "one of them of late", "all of them seldom", "another kind"],
)
def test_an_action_of_few_runs_remains_on_all_resources_if_its_type_is_unstable(
    others: list[Usage], guard: str
) -> None:
    proposed = draft(
        document(UPDATE),
        [usage(UPDATE, FUNCTION, [1, 3]), *others, usage("lambda:ListFunctions", "*")],
    )
    assert (onto(proposed), guards(proposed)) == ({}, {UPDATE: guard})


def test_a_creating_action_counts_the_runs_that_used_its_resources() -> None:
    """CloudFormation created the function twice, with another suffix each; every run used one of
    these.
    """
    first, second = f"{FUNCTION}-Worker-1A2B3C4D5E6F", f"{FUNCTION}-Worker-8QW2X7TZ4LKM"
    making = [usage(CREATE, first, [0]), usage(CREATE, second, [6])]
    using = [usage(GET, first, range(6)), usage(GET, second, range(6, 12))]
    assert guards(draft(document(CREATE), [*making, usage("lambda:ListFunctions", "*")])) == {
        CREATE: "few-runs"
    }
    assert onto(draft(document(CREATE), [*making, *using])) == {CREATE: (f"{FUNCTION}-Worker-*",)}


def part(action: str, resource: str, derivation: str) -> Usage:
    plain_usage = usage(action, resource, exact=False)
    return replace(plain_usage, need=structs.replace(plain_usage.need, derivation=derivation))


def test_a_stack_name_is_exact_and_a_similar_name_is_not() -> None:
    stack, action = (
        "arn:aws:cloudformation:eu-west-1:111122223333:stack/orders/*",
        "cloudformation:GetTemplate",
    )
    assert onto(draft(document(action), [part(action, stack, IN_PART)])) == {action: (stack,)}
    like = part(action, stack, f"{IN_PART}, under a like name")
    assert guards(draft(document(action), [like])) == {action: "unknown-resource"}
    any_name = part(action, stack.replace("orders", "*"), IN_PART)
    assert onto(draft(document(action), [any_name])) == {action: (stack.replace("orders", "*"),)}


def test_a_name_that_is_open_in_one_region_is_open_in_each_region_that_the_runs_used() -> None:
    names = [usage(UPDATE, f"{FUNCTION}-{4000 + run * 37}", [run]) for run in range(11)]
    other_region = FUNCTION.replace("eu-west-1", "us-east-1")
    proposed = draft(document(UPDATE), [*names, usage(UPDATE, f"{other_region}-4407", [11])])
    assert onto(proposed) == {UPDATE: (f"{FUNCTION}-*", f"{other_region}-*")}


def test_an_action_of_few_runs_is_restricted_to_the_types_that_it_was_used_on() -> None:
    """A script deletes an API in two runs, and each run adds a route below it, which `DELETE` takes
    too.
    """
    api = "arn:aws:apigateway:eu-west-1::/apis/a1b2c3d4e5"
    usages = [
        usage("apigateway:DELETE", api, range(2)),
        usage("apigateway:POST", f"{api}/routes"),
    ]
    assert onto(draft(document("apigateway:DELETE"), usages)) == {"apigateway:DELETE": (api,)}


def test_a_bucket_whose_name_has_the_region_counts_as_the_same_in_another_region() -> None:
    action, bucket = "s3:GetBucketLocation", "arn:aws:s3:::assets-111122223333-eu-west-1"
    other_region = bucket.replace("eu-west-1", "us-east-1")
    proposed = draft(document(action), [usage(action, bucket), usage(action, other_region, [11])])
    assert onto(proposed) == {action: (bucket, other_region)}


def test_an_action_is_restricted_in_each_region_where_another_action_used_the_resource() -> None:
    other_region = FUNCTION.replace("eu-west-1", "us-east-1")
    reading = [
        usage("lambda:GetFunction", FUNCTION),
        usage("lambda:GetFunction", other_region, [11]),
    ]
    assert onto(draft(document(UPDATE), [usage(UPDATE, FUNCTION), *reading])) == {
        UPDATE: (FUNCTION, other_region)
    }


def test_the_suffix_of_a_log_group_arn_is_no_wildcard() -> None:
    group, action = (
        "arn:aws:logs:eu-west-1:111122223333:log-group:/shop/api:*",
        "logs:PutRetentionPolicy",
    )
    assert onto(draft(document(action), [usage(action, group)])) == {action: (group,)}


def test_a_role_name_is_exact_if_a_run_created_it_without_a_path() -> None:
    role, action = "arn:aws:iam::111122223333:role/worker", "iam:GetRole"
    using, making = usage(action, role), usage("iam:CreateRole", role, [0])
    derived = [
        replace(usage_of_role, need=structs.replace(usage_of_role.need, derivation=NAMED))
        for usage_of_role in (using, making)
    ]
    assert guards(draft(document(action), derived[:1])) == {action: "unknown-resource"}
    assert onto(draft(document(action), derived)) == {action: (role,)}
    in_vain = [derived[0], replace(derived[1], succeeded=False)]
    assert guards(draft(document(action, "iam:CreateRole"), in_vain))[action] == "unknown-resource"


def test_a_type_that_every_record_names_is_excluded_if_absent() -> None:
    """The record would name an access point, but not a rule of a security group."""
    bucket_draft = draft(
        document("s3:GetBucketLocation"), [usage("s3:GetBucketLocation", "arn:aws:s3:::orders")]
    )
    assert onto(bucket_draft) == {"s3:GetBucketLocation": ("arn:aws:s3:::orders",)}
    group = "arn:aws:ec2:eu-west-1:111122223333:security-group/sg-0a1b2c3d4e5f60718"
    group_draft = draft(
        document("ec2:AuthorizeSecurityGroupIngress"),
        [usage("ec2:AuthorizeSecurityGroupIngress", group)],
    )
    rules = "arn:aws:ec2:eu-west-1:111122223333:security-group-rule/*"
    assert onto(group_draft) == {"ec2:AuthorizeSecurityGroupIngress": (group, rules)}
    function = usage("lambda:GetFunction", FUNCTION)
    assert onto(draft(document("lambda:GetFunction"), [function])) == {
        "lambda:GetFunction": (FUNCTION,)
    }
    unnamed = draft(
        document("s3:GetBucketLocation"), [part("s3:GetBucketLocation", "arn:aws:s3:::*", IN_PART)]
    )
    assert guards(unnamed) == {"s3:GetBucketLocation": "unknown-resource"}


def test_a_gap_a_guard_or_an_unchanged_wildcard_prevents_a_restriction() -> None:
    gap = Gap(GapKind.UNMAPPED_EVENT, Scope(services=("lambda",)), "lambda:Odd")
    assert guards(draft(document(UPDATE), [usage(UPDATE, FUNCTION)], gaps=[gap])) == {
        UPDATE: "gap-in-scope"
    }
    proposed = draft(document(UPDATE), [usage(UPDATE, FUNCTION)], Options(keep=("lambda:Update*",)))
    assert guards(proposed) == {UPDATE: "keep"}
    young = draft(document(UPDATE), [usage(UPDATE, FUNCTION)], Options(minimum_days=90))
    assert guards(young) == {UPDATE: "minimum-days"}
    covered = draft(
        document(UPDATE, "*"),
        [usage(UPDATE, FUNCTION)],
        Options(unseen_services=UnseenServices.KEEP),
    )
    assert (onto(covered), guards(covered)) == ({}, {})


def test_resources_keep_restricts_nothing() -> None:
    proposed = draft(document(UPDATE), [usage(UPDATE, FUNCTION)], Options(keep_forms=True))
    assert (onto(proposed), guards(proposed)) == ({}, {})


def test_resources_exact_writes_the_recorded_resources() -> None:
    usages = [usage(UPDATE, f"{FUNCTION}-{name}") for name in ("1041", "1042")]
    proposed = draft(document(UPDATE), usages, Options(exact_resources=True))
    assert onto(proposed) == {UPDATE: (f"{FUNCTION}-1041", f"{FUNCTION}-1042")}


def test_actions_without_resources_and_data_events_remain_on_all_resources() -> None:
    queue = "arn:aws:sqs:eu-west-1:111122223333:orders"
    usages = [usage("sqs:ListQueues", "*"), usage("sqs:SendMessage", queue)]
    proposed = draft(document("sqs:ListQueues", "sqs:SendMessage"), usages)
    assert (onto(proposed), guards(proposed)) == ({}, {"sqs:SendMessage": "not-visible"})


def test_a_name_that_the_policy_version_cannot_write_prevents_a_restriction() -> None:
    old = parse(document(UPDATE).text.replace("2012-10-17", "2008-10-17").encode(), "p.json")
    proposed = draft(old, [usage("lambda:UpdateFunctionCode", f"{FUNCTION}${{*}}")])
    assert guards(proposed) == {UPDATE: "policy-version"}


@pytest.mark.parametrize(
    ("action", "makes"),
    [
        ("sqs:CreateQueue", True),
        ("cloudwatch:PutMetricAlarm", True),
        ("logs:CreateLogGroup", True),
        ("ec2:RunInstances", True),
        ("s3:PutBucketPolicy", False),
        ("dynamodb:PutItem", False),
        ("lambda:UpdateFunctionCode", False),
        ("sqs:ListQueues", False),
        ("unknown:CreateThing", False),
    ],
)
def test_the_name_shows_whether_an_action_creates_its_resource(action: str, makes: bool) -> None:
    assert creates_its_resource(action) is makes


@pytest.mark.parametrize(
    ("action", "path", "applied"),
    [
        ("apigateway:PATCH", "/apis/a1b2c3d4e5/routes", ["/apis/a1b2c3d4e5/routes/*"]),
        ("apigateway:DELETE", "/restapis/??????????/stages", ["/restapis/??????????/stages/*"]),
        ("apigateway:PATCH", "/apis/a1b2c3d4e5", ["/apis/a1b2c3d4e5"]),
        ("apigateway:PATCH", "/apis", []),
        ("apigateway:POST", "/apis/a1b2c3d4e5/routes", ["/apis/a1b2c3d4e5/routes"]),
    ],
)
def test_what_follows_an_addition_to_a_collection_is_authorized_on_its_items(
    action: str, path: str, applied: list[str]
) -> None:
    """The paths of UpdateRoute and UpdateStage in botocore; nothing where the items are all APIs of
    the account.
    """
    arn = "arn:aws:apigateway:eu-west-1::"
    assert with_items(action, arn + path) == tuple(arn + suffix for suffix in applied)

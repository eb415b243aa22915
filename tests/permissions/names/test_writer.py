"""Each written resource says how well the evidence shows it."""

from __future__ import annotations

import pytest

from leastpriv.permissions.generalize import Certainty, ObservedResource
from leastpriv.permissions.names.app_names import read_app_names
from leastpriv.permissions.names.observed import NameUse, RunFacts
from leastpriv.permissions.names.writer import write_resources

QUEUE = "arn:aws:sqs:eu-west-1:111122223333:orders"
ROLE = "arn:aws:iam::111122223333:role/svc"
NAMES = read_app_names([], [])


def certainties(action: str, *observed: ObservedResource, **more: object) -> dict[str, Certainty]:
    patterns = write_resources(action, observed, NAMES, **more)  # type: ignore[arg-type]
    return {pattern.pattern: pattern.certainty for pattern in patterns}


def test_a_named_resource_is_whole_also_with_an_end_that_aws_draws() -> None:
    secret = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:token-a1B2c3"  # noqa: S105
    assert certainties("sqs:SendMessage", ObservedResource(QUEUE)) == {QUEUE: Certainty.WHOLE}
    secrets = certainties("secretsmanager:GetSecretValue", ObservedResource(secret))
    assert secrets == {secret.replace("a1B2c3", "??????"): Certainty.WHOLE}


def test_a_resource_that_only_an_answer_names_says_so() -> None:
    answered = ObservedResource(QUEUE, certainty=Certainty.FROM_ANSWER)
    assert certainties("sqs:CreateQueue", answered) == {QUEUE: Certainty.FROM_ANSWER}


@pytest.mark.parametrize("certainty", [Certainty.IN_PART, Certainty.INFERRED])
def test_a_resource_has_the_certainty_of_its_records(certainty: Certainty) -> None:
    volume = "arn:aws:ec2:eu-west-1:111122223333:volume/*"
    volumes = certainties("ec2:RunInstances", ObservedResource(volume, certainty=certainty))
    assert volumes == {volume: certainty}


def test_the_best_record_of_a_resource_decides() -> None:
    observations = [
        ObservedResource(QUEUE, certainty=certainty)
        for certainty in (Certainty.FROM_ANSWER, Certainty.WHOLE)
    ]
    assert certainties("sqs:SendMessage", *observations) == {QUEUE: Certainty.WHOLE}


def test_a_name_that_each_run_draws_is_a_pattern() -> None:
    runs = [RunFacts(str(number)) for number in range(4)]
    arns = [f"{QUEUE}-{number}a{number}b{number}c" for number in range(4)]
    uses = [
        NameUse("sqs:CreateQueue", arn, (run.id,), creates=True)
        for arn, run in zip(arns, runs, strict=True)
    ]
    observed = [ObservedResource(use.resource, use.runs) for use in uses]
    patterns = write_resources("sqs:CreateQueue", observed, read_app_names(uses, runs))
    assert [(pattern.pattern, pattern.certainty) for pattern in patterns] == [
        (f"{QUEUE}-*", Certainty.OVER_COPIES)
    ]


@pytest.mark.parametrize(
    ("names", "runs"),
    [
        ("preview-17 preview-18", "1 2"),
        ("preview-17 preview-18 preview-19", "1 1 1"),
        ("preview-17 preview-18 preview-19", "1 123 3"),
        ("orders billing users", "1 2 3"),
        ("p1 p2 p3", "1 2 3"),
        ("deploy-dev deploy-staging deploy-prod", "1 2 3"),
    ],
    ids=[
        "two runs",
        "one run",
        "one of them returned",
        "nothing in common",
        "too little in common",
        "environments",
    ],
)
def test_a_name_is_exact_where_runs_prove_no_slot(names: str, runs: str) -> None:
    arns = [f"arn:aws:sqs:eu-west-1:111122223333:{name}" for name in names.split()]
    uses = [
        NameUse("sqs:CreateQueue", arn, tuple(using), creates=True)
        for arn, using in zip(arns, runs.split(), strict=True)
    ]
    learned = read_app_names(uses, [RunFacts(run) for run in "123"])
    observed = [ObservedResource(use.resource, use.runs) for use in uses]
    patterns = write_resources("sqs:CreateQueue", observed, learned)
    assert [pattern.pattern for pattern in patterns] == sorted(arns)


def test_a_role_whose_path_is_unknown_is_written_under_each_path_but_never_the_principal() -> None:
    any_path = ROLE.replace("role/", "role/*/")
    role = ObservedResource(ROLE)
    roles = certainties("iam:PutRolePolicy", role, pathless=[ROLE])
    assert roles == {ROLE: Certainty.WHOLE, any_path: Certainty.PATH_UNKNOWN}
    team_role = ROLE.replace("role/", "role/team/")
    assert certainties("iam:PutRolePolicy", role, pathless=[ROLE], principal=team_role) == {
        ROLE: Certainty.WHOLE
    }
    assert certainties("iam:PutRolePolicy", role) == {ROLE: Certainty.WHOLE}

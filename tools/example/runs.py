"""The deploys of five weeks: time and calls of each run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from example import cdk, function, resources
from example.record import (
    ACCOUNT,
    GLOBAL_REGION,
    OIDC_PROVIDER,
    Actor,
    Call,
    Json,
    credentials,
    digest,
    number,
    role_session,
)
from example.stack import Stack

ROLE = "orders-deploy"
ROLE_PATH = "/ci/"
ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role{ROLE_PATH}{ROLE}"
ORDERS = Stack("orders")
PREVIEW = Stack("orders-preview")
_DEAD_LETTERS = ORDERS.queue("DeadLetters9F3E1B55")
_CDK_AGENT = (
    "aws-sdk-js/3.901.0 ua/2.1 os/linux#6.11.0-1018-azure lang/js md/nodejs#22.20.0 m/E app/aws-cdk"
)
_CLI_AGENT = (
    "aws-cli/2.31.3 md/awscrt#0.27.6 ua/2.1 os/linux#6.11.0-1018-azure md/arch#x86_64"
    " lang/python#3.13.7"
)


@dataclass(frozen=True, slots=True)
class Event:
    """A call with its position in the story."""

    when: datetime
    actor: Actor
    call: Call
    key: str
    run: str = ""
    """GitHub run id for calls of the deploy role."""


@dataclass(frozen=True, slots=True)
class Run:
    """One workflow run."""

    id: str
    start: datetime
    what: str
    ref: str = "main"
    attempt: int = 1

    @property
    def session(self) -> str:
        """ARN of the role session, as denials name it."""
        return f"arn:aws:sts::{ACCOUNT}:assumed-role/{ROLE}/{self.id}"

    @property
    def asset(self) -> str:
        """Hash of the function's code in this run."""
        return digest("asset", self.id)

    @property
    def template(self) -> str:
        """Hash of the template in this run."""
        return digest("template", self.id)


def _run(
    identifier: str,
    month: int,
    day: int,
    clock: str,
    what: str,
    ref: str = "main",
    attempt: int = 1,
) -> Run:
    hour, minute = map(int, clock.split(":"))
    return Run(
        identifier, datetime(2026, month, day, hour, minute, 9, tzinfo=UTC), what, ref, attempt
    )


RUNS = (
    _run("17650233411", 10, 5, "08:12", "create"),
    _run("17668104277", 10, 6, "13:40", "code"),
    _run("17702951830", 10, 9, "09:27", "configuration"),
    _run("17731466092", 10, 12, "14:03", "preview-create", ref="feature/network"),
    _run("17752380915", 10, 14, "07:55", "code"),
    _run("17779012648", 10, 16, "15:31", "queue"),
    _run("17818457203", 10, 20, "08:46", "alarm"),
    _run("17818457203", 10, 20, "09:14", "alarm", attempt=2),
    _run("17821990356", 10, 20, "11:02", "code"),
    _run("17854312987", 10, 23, "12:18", "preview-network", ref="feature/network"),
    _run("17890276541", 10, 27, "10:36", "everything"),
    _run("17923648170", 10, 30, "16:09", "preview-destroy", ref="feature/network"),
    _run("17958830224", 11, 3, "09:50", "code"),
    _run("17991547306", 11, 6, "13:22", "configuration"),
)


def events() -> Iterator[Event]:
    """List all calls of all runs, including those of the lookup role."""
    for run in RUNS:
        yield from _events_of(run)


def session_of(run: Run, role: str = ROLE, path: str = ROLE_PATH, session: str = "") -> Actor:
    """Name the actor of a run: a role session from a GitHub-hosted runner."""
    identity = role_session(role, session or run.id, run.start, path=path, oidc=not session)
    return Actor(identity, f"203.0.113.{number('address', run.id) % 250 + 1}", _CDK_AGENT)


def _events_of(run: Run) -> Iterator[Event]:
    deployer = session_of(run)
    lookup = session_of(run, cdk.LOOKUP_ROLE, "/", "aws-cdk-runner")
    steps: list[tuple[Actor, Iterable[Call]]] = [
        (_web_identity(run, deployer), [_login(run, deployer)]),
        (deployer, [_who_am_i(GLOBAL_REGION), _who_am_i(""), cdk.assume_lookup_role(lookup)]),
        (lookup, [cdk.bootstrap_version(), *_lookups(run)]),
        (deployer, _work(run)),
    ]
    now = run.start
    for index, (actor, call) in enumerate(
        (actor, call) for actor, calls in steps for call in calls
    ):
        now += timedelta(seconds=call.wait)
        key = f"{run.id}/{run.attempt}/{index}"
        yield Event(now, _agent(actor, call), call, key, run.id if actor is deployer else "")


def _agent(actor: Actor, call: Call) -> Actor:
    by_cli = (
        call.name in {"GetBucketLifecycle", "AssumeRoleWithWebIdentity"}
        or call.region == GLOBAL_REGION
    )
    return Actor(actor.identity, actor.address, _CLI_AGENT if by_cli else actor.agent)


def _web_identity(run: Run, deployer: Actor) -> Actor:
    """Name the caller of the login, who has no permissions yet: only the trust policy decides."""
    subject = f"repo:acme/orders:ref:refs/heads/{run.ref}"
    identity: Json = {
        "type": "WebIdentityUser",
        "principalId": f"{OIDC_PROVIDER}:sts.amazonaws.com:{subject}",
        "userName": subject,
        "identityProvider": OIDC_PROVIDER,
    }
    return Actor(identity, deployer.address, deployer.agent)


def _login(run: Run, deployer: Actor) -> Call:
    return Call(
        "sts",
        "AssumeRoleWithWebIdentity",
        {"roleArn": ROLE_ARN, "roleSessionName": run.id, "durationSeconds": 3600},
        response={
            "subjectFromWebIdentityToken": f"repo:acme/orders:ref:refs/heads/{run.ref}",
            "credentials": credentials(deployer.identity),
            "assumedRoleUser": {"arn": run.session},
            "provider": OIDC_PROVIDER,
            "audience": "sts.amazonaws.com",
        },
        resources=({"accountId": ACCOUNT, "type": "AWS::IAM::Role", "ARN": ROLE_ARN},),
    )


def _who_am_i(region: str) -> Call:
    return Call("sts", "GetCallerIdentity", None, region=region)


def _lookups(run: Run) -> Iterator[Call]:
    stack = PREVIEW if run.what.startswith("preview") else ORDERS
    for name in ("DescribeStacks", "GetTemplate", "ListStackResources"):
        yield Call("cloudformation", name, {"stackName": stack.name})


def _work(run: Run) -> Iterator[Call]:
    stack = PREVIEW if run.what.startswith("preview") else ORDERS
    if run.what == "preview-destroy":
        yield from cdk.destroy(stack, resources.delete_all(stack))
        return
    yield cdk.bootstrap_version()
    yield from cdk.publish(run.template, run.asset, new=run.attempt == 1)
    if run.what in {"create", "everything"}:
        yield cdk.check_lifecycle()
    exists = run.what not in {"create", "preview-create"}
    failed = run.what in {"alarm", "preview-network"}
    yield from cdk.deploy(
        stack, run.id, run.template, _changes(run, stack), exists=exists, failed=failed
    )
    if run.what == "queue":
        yield cdk.throttled(stack)


def _changes(run: Run, stack: Stack) -> Iterator[Call]:
    """List CloudFormation's calls in this run."""
    match run.what:
        case "create" | "preview-create":
            yield from resources.create_all(stack, run.asset)
        case "code":
            yield from function.update_code(stack, run.asset)
        case "configuration":
            yield from function.update_code(stack, run.asset)
            yield from function.update_configuration(stack, 512)
        case "queue":
            yield from _queue_changes(stack)
        case "alarm":
            yield from _alarm(run)
        case "preview-network":
            yield resources.refused_vpc(run.session)
        case "everything":
            yield from _all_changes(run, stack)


def _queue_changes(stack: Stack) -> Iterator[Call]:
    tags = {"app": "orders", "owner": "checkout"}
    yield from resources.set_queue(stack.queue(), {"VisibilityTimeout": "60"})
    yield resources.tag_queue(stack.queue(), {**tags})
    yield function.tag_function(stack, {**tags})
    yield resources.tag_role(stack, tags)


def _alarm(run: Run) -> Iterator[Call]:
    """The alarm is denied: CloudFormation rolls back."""
    yield from resources.create_queue(_DEAD_LETTERS)
    dead_letters = f"arn:aws:sqs:eu-west-1:{ACCOUNT}:{_DEAD_LETTERS}"
    redrive = f'{{"deadLetterTargetArn":"{dead_letters}","maxReceiveCount":5}}'
    yield from resources.set_queue(ORDERS.queue(), {"RedrivePolicy": redrive})
    yield resources.refused_alarm(run.session, "orders-dlq-not-empty")
    yield from resources.set_queue(ORDERS.queue(), {"RedrivePolicy": ""})
    yield resources.delete_queue(_DEAD_LETTERS)


def _all_changes(run: Run, stack: Stack) -> Iterator[Call]:
    yield resources.put_retention(stack, 90)
    yield resources.put_role_policy(stack, "sqs:ChangeMessageVisibility")
    yield from function.update_code(stack, run.asset)
    yield from function.update_configuration(stack, 1024)

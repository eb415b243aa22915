"""The app's stack: its resources' names, and the calls that CloudFormation makes for it."""

from __future__ import annotations

from dataclasses import dataclass

from example.record import ACCOUNT, REGION, Call, Json, Need, token, uuid

CLOUDFORMATION = "cloudformation.amazonaws.com"
APP_TAGS: Json = {"app": "orders"}


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack of the app; names of its resources are generated as CloudFormation does it."""

    name: str

    @property
    def id(self) -> str:
        """The stack's ARN."""
        name_and_id = f"{self.name}/{uuid('stack', self.name)}"
        return f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{name_and_id}"

    @property
    def any_id(self) -> str:
        """The ARN a policy can name before the stack exists."""
        return f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{self.name}/*"

    def physical(self, logical: str) -> str:
        """Name of a resource: stack, logical name, twelve letters."""
        return f"{self.name}-{logical}-{token(12, 'physical', self.name, logical)}"

    @property
    def function(self) -> str:
        """Name of the Lambda function."""
        return self.physical("Handler886CB40B")

    @property
    def function_arn(self) -> str:
        """ARN of the Lambda function."""
        return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.function}"

    @property
    def role(self) -> str:
        """Name of the function's role."""
        return self.physical("HandlerServiceRoleFCDC14AE")

    @property
    def role_arn(self) -> str:
        """ARN of the function's role."""
        return f"arn:aws:iam::{ACCOUNT}:role/{self.role}"

    @property
    def log_group(self) -> str:
        """Name of the function's log group."""
        return self.physical("HandlerLogs3B1D2C70")

    def queue(self, logical: str = "Inbox2A1E4F08") -> str:
        """Name of a queue."""
        return self.physical(logical)


def by_cloudformation(
    service: str,
    name: str,
    parameters: Json,
    *needs: Need,
    response: Json | None = None,
    error: str = "",
    message: str = "",
    wait: int = 2,
) -> Call:
    """Make a call as CloudFormation does without a service role: with the caller's own
    permissions.
    """
    return Call(
        service,
        name,
        parameters,
        needs,
        response,
        error=error,
        message=message,
        wait=wait,
        via=CLOUDFORMATION,
    )


def queue_arn(queue: str) -> str:
    """Build the ARN of a queue."""
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}"

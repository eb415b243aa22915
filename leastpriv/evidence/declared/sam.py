"""Expands AWS SAM templates to CloudFormation, and reads what `samconfig.toml` says of the stack."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Mapping

from leastpriv.errors import InputError
from leastpriv.evidence.declared.models import UNKNOWN

MANAGED_BUCKET = f"aws-sam-cli-managed-default-samclisourcebucket-{UNKNOWN}"
"""The bucket that `sam deploy --resolve-s3` makes
(https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-cli-command-reference-sam-deploy.html,
read 2026-11-27)."""
_LOCAL = ("CodeUri", "ContentUri", "DefinitionUri", "SchemaUri", "Location")
_UPLOADED = UNKNOWN
_OVERRIDE = re.compile(r"(?:ParameterKey=)?([A-Za-z0-9]+)(?:,ParameterValue)?=(\"[^\"]*\"|\S*)")


class _Session:
    """What the translator asks of a session of Boto3; nothing in the result depends on it."""

    region_name = "us-east-1"


def after_transform(document: Mapping[str, object], source: str, bucket: str = MANAGED_BUCKET) -> Mapping[str, object]:
    """Returns the CloudFormation template that AWS SAM makes of a template.

    Raises:
        InputError: AWS SAM refuses the template.
    """
    from samtranslator.model.exceptions import InvalidDocumentException
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator

    fragment = copy.deepcopy(dict(document))
    resources = fragment.get("Resources")
    for entry in resources.values() if isinstance(resources, dict) else ():
        properties = entry.get("Properties") if isinstance(entry, dict) else None
        if isinstance(properties, dict):
            local = [key for key in _LOCAL if isinstance(properties.get(key), str) and "://" not in properties[key]]
            properties.update(dict.fromkeys(local, f"s3://{bucket}/{_UPLOADED}"))
    try:
        translator = Translator(None, Parser(), boto_session=_Session())
        made: Mapping[str, object] = translator.translate(fragment, {}, get_managed_policy_map=dict)
    except InvalidDocumentException as error:
        causes = "; ".join(str(cause) for cause in getattr(error, "causes", ()) or (error,))
        raise InputError(f"{source}: AWS SAM rejects the template: {causes}") from error
    return made


def deployed_as(raw: bytes) -> tuple[str, dict[str, str]]:
    """Returns the stack name and the parameters of a `samconfig.toml`; empty where it has none."""
    try:
        config = tomllib.loads(raw.decode("utf-8", "replace"))
    except tomllib.TOMLDecodeError:
        return "", {}
    name, overrides = "", ""
    default = config.get("default")
    for command in ("global", "deploy"):
        section = default.get(command) if isinstance(default, dict) else None
        given = section.get("parameters") if isinstance(section, dict) else None
        if isinstance(given, dict):
            name = str(given.get("stack_name") or name)
            found = given.get("parameter_overrides") or overrides
            overrides = " ".join(map(str, found)) if isinstance(found, list) else str(found)
    return name, {key: value.strip('"') for key, value in _OVERRIDE.findall(overrides)}

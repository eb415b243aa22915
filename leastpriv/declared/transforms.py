"""Expands AWS SAM templates and `Fn::ForEach` to CloudFormation, and reads what `samconfig.toml`
says of the stack.

The syntax of loops is that of the transform AWS::LanguageExtensions
(intrinsic-function-reference-foreach.html in
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/, not read: inferred from
templates).
"""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from leastpriv.budget import Budget
from leastpriv.declared.models import APPLICATION, LOCAL_PATH, UNKNOWN, OpenText, Stack, open_text
from leastpriv.errors import InputError

MANAGED_BUCKET = f"aws-sam-cli-managed-default-samclisourcebucket-{UNKNOWN}"
"""The bucket that `sam deploy --resolve-s3` makes (sam-cli-command-reference-sam-deploy.html in
https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/, read 2026-11-27).
"""
_LOCAL = ("CodeUri", "ContentUri", "DefinitionUri", "SchemaUri", "Location")
_LONGEST_CONFIG = 16 * 1024
"""Bytes; Python's parser takes gigabytes for a long dotted key."""
_FUNCTION = "AWS::Serverless::Function"
_CODE = {_FUNCTION: "CodeUri", "AWS::Serverless::LayerVersion": "ContentUri"}
"""The property that names the code of a type."""
_OVERRIDE = re.compile(r"(?:ParameterKey=)?([A-Za-z0-9]+)(?:,ParameterValue)?=(\"[^\"]*\"|\S*)")


class _Session:
    """What the translator asks of a session of Boto3; nothing in the result depends on it."""

    region_name = "us-east-1"


def after_transform(
    document: Mapping[str, object], source: str, uploads: str
) -> Mapping[str, object]:
    """Returns the CloudFormation template that AWS SAM makes of a template.

    Args:
        document: the template.
        source: its file.
        uploads: bucket and beginning of the keys of uploaded files: `BUCKET/`, `BUCKET/PREFIX/`.

    Raises:
        InputError: AWS SAM refuses the template.
    """
    from samtranslator.metrics.metrics import DummyMetricsPublisher, Metrics
    from samtranslator.model.exceptions import InvalidDocumentException
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator

    fragment = copy.deepcopy(dict(document))
    metadata = _with_uploads(fragment, uploads)
    metrics = Metrics("leastpriv", DummyMetricsPublisher())
    try:
        translator = Translator(None, Parser(), boto_session=_Session(), metrics=metrics)
        made: Mapping[str, Any] = translator.translate(fragment, {}, get_managed_policy_map=dict)
    except InvalidDocumentException as error:
        causes = "; ".join(
            str(getattr(cause, "message", cause))
            for cause in getattr(error, "causes", ()) or (error,)
        )
        raise InputError(f"{source}: AWS SAM rejects the template: {causes}") from error
    finally:
        # Otherwise the library warns of metrics that nothing takes.
        metrics.publish()
    for logical, own in metadata.items():
        made["Resources"][logical]["Metadata"] = own
    return made


def _uploaded(key: str, uploads: str) -> object:
    """Where a local file is after the upload, whose key has a hash."""
    bucket, _, prefix = uploads.partition("/")
    if key in ("SchemaUri", "Location"):
        return OpenText(f"s3://{bucket}/{prefix}{UNKNOWN}")
    return {"Bucket": OpenText(bucket), "Key": OpenText(f"{prefix}{UNKNOWN}")}


def _with_uploads(fragment: dict[str, Any], uploads: str) -> dict[str, dict[str, object]]:
    """Puts the place of uploaded files where a template names local ones, as `sam package` does.

    Args:
        fragment: the template, which is changed.
        uploads: bucket and beginning of the keys of uploaded files.

    Returns:
        The metadata of nested applications, by logical id.
    """
    shared = fragment.get("Globals")
    sections = shared if isinstance(shared, dict) else {}
    for section in sections.values():
        _name_uploads(section, uploads)
    resources = fragment.get("Resources")
    metadata: dict[str, dict[str, object]] = {}
    for logical, entry in resources.items() if isinstance(resources, dict) else ():
        if not isinstance(entry, dict):
            continue
        if entry.get("Type") in _CODE and entry.get("Properties") is None:
            entry["Properties"] = {}
        properties = entry.get("Properties")
        if not isinstance(properties, dict):
            continue
        location = properties.get("Location")
        if _is_local(location):
            metadata[logical] = {LOCAL_PATH: location}
        _name_uploads(properties, uploads)
        if isinstance(location, dict) and "ApplicationId" in location:
            # The translator would ask AWS for the template.
            metadata[logical] = {APPLICATION: location["ApplicationId"]}
            properties["Location"] = UNKNOWN
        _name_code(str(entry.get("Type")), properties, sections.get("Function"), uploads)
        body = properties.get("DefinitionBody")
        if isinstance(body, dict) and "Fn::Transform" in body:
            # AWS puts what another transform reads in its place first.
            properties["DefinitionBody"] = _any_definition(entry.get("Type"))
    return metadata


def _is_local(value: object) -> bool:
    """Whether a property names a local file, also by a parameter; it may be a place in S3."""
    return isinstance(value, str) and "://" not in value


def _name_uploads(properties: object, uploads: str) -> None:
    """Names the upload of each local file of some properties."""
    if not isinstance(properties, dict):
        return
    for key in _LOCAL:
        if _is_local(properties.get(key)):
            properties[key] = _uploaded(key, uploads)
    code = properties.get("CodeUri")
    if isinstance(code, dict) and not {"Bucket", "Key"} <= {*code}:
        properties["CodeUri"] = _uploaded("CodeUri", uploads)


def _name_code(kind: str, properties: dict[str, Any], shared: object, uploads: str) -> None:
    """Names the upload of a function or layer without a path: `sam build` takes the folder of the
    template, or builds the image of its Dockerfile.
    """
    key = _CODE.get(kind, "")
    given = {*properties, *(shared if isinstance(shared, dict) else ())}
    if kind == _FUNCTION and properties.get("PackageType") == "Image":
        properties.setdefault("ImageUri", UNKNOWN)
    elif key and not {key, "InlineCode"} & given:
        properties[key] = _uploaded(key, uploads)


def _any_definition(type_name: object) -> dict[str, Any]:
    """A definition of an API that AWS SAM takes in place of one that is not known."""
    if type_name == "AWS::Serverless::HttpApi":
        return {"openapi": "3.0.1", "paths": {}}
    return {"swagger": "2.0", "paths": {}}


def deployed_as(raw: bytes) -> Stack:
    """Returns how a `samconfig.toml` deploys: stack, parameters, tags, bucket, as far as it says
    so.
    """
    if len(raw) > _LONGEST_CONFIG:
        return Stack()
    try:
        config = tomllib.loads(raw.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return Stack()
    given: dict[str, Any] = {}
    default = config.get("default")
    for command in ("global", "deploy"):
        section = default.get(command) if isinstance(default, dict) else None
        parameters = section.get("parameters") if isinstance(section, dict) else None
        given |= parameters if isinstance(parameters, dict) else {}
    overrides = given.get("parameter_overrides", "")
    text = " ".join(map(str, overrides)) if isinstance(overrides, list) else str(overrides)
    values = {key: value.strip('"') for key, value in _OVERRIDE.findall(text)}
    prefix = f"{open_text(given['s3_prefix']).strip('/')}/" if given.get("s3_prefix") else ""
    bucket = "" if given.get("resolve_s3") else open_text(given.get("s3_bucket") or "")
    images = open_text(given.get("image_repository") or "")
    return Stack(
        name=open_text(given["stack_name"]) if given.get("stack_name") else UNKNOWN,
        parameters=values,
        tagged=bool(given.get("tags")),
        bucket=bucket,
        prefix=prefix,
        repository=images.partition("/")[2],
    )


def parameter_values(raw: bytes, source: str) -> Mapping[str, str]:
    """Returns the values of a file of parameters.

    It may be a list as `aws cloudformation --parameters` takes it, have them under `Parameters` as
    the deployment of CodePipeline does, or be a mapping of names.

    Raises:
        InputError: it is none of these.
    """
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source} is no JSON with parameters of a template: {error}") from error
    pairs: list[tuple[object, object]] = []
    if isinstance(found, dict):
        given = found.get("Parameters", found)
        pairs.extend(given.items() if isinstance(given, dict) else ())
    elif isinstance(found, list):
        entries = (each for each in found if isinstance(each, dict))
        pairs.extend((each.get("ParameterKey"), each.get("ParameterValue")) for each in entries)
    else:
        raise InputError(f"{source} has no parameters of a template.")
    return {
        str(key): ",".join(map(str, value)) if isinstance(value, list) else str(value)
        for key, value in pairs
        if key is not None and value is not None
    }


_LOOP = "Fn::ForEach::"
_PARTS = 3
_MOST_LEVELS = 40


def without_loops(
    value: object, items: Callable[[object], Sequence[str]], budget: Budget, level: int = 0
) -> object:
    """Returns a JSON value with what its loops make in their place.

    Args:
        value: a part of a template.
        items: the texts of a collection.
        budget: pays a step for each value that is copied.
        level: how deep the value is in the template.

    Raises:
        TooLargeError: the loops make more than the budget has.
    """
    budget.spend()
    if level > _MOST_LEVELS:
        return value
    if isinstance(value, list):
        return [without_loops(each, items, budget, level + 1) for each in value]
    if not isinstance(value, Mapping):
        return value
    found: dict[str, object] = {}
    for key, each in value.items():
        if key.startswith(_LOOP) and isinstance(each, list) and len(each) == _PARTS:
            variable, collection, body = each
            for item in items(collection):
                copied = _replaced(body, str(variable), item, budget)
                made = without_loops(copied, items, budget, level + 1)
                found.update(made if isinstance(made, dict) else {})
        else:
            found[key] = without_loops(each, items, budget, level + 1)
    return found


def _replaced(value: object, name: str, item: str, budget: Budget) -> object:
    """A value with an item in place of the variable of its loop; `&{…}` takes letters and digits
    alone.
    """
    budget.spend()
    if isinstance(value, str):
        # What only the deployment knows remains a variable without a value.
        is_open = isinstance(item, OpenText) and UNKNOWN in item
        whole = value if is_open else value.replace(f"${{{name}}}", item)
        made = whole.replace(f"&{{{name}}}", re.sub("[^A-Za-z0-9*]", "", item))
        budget.spend(characters=len(made))
        return made
    if isinstance(value, list):
        return [_replaced(each, name, item, budget) for each in value]
    if isinstance(value, Mapping):
        if value == {"Ref": name}:
            return item
        return {
            str(_replaced(key, name, item, budget)): _replaced(each, name, item, budget)
            for key, each in value.items()
        }
    return value

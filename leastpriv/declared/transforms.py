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

from msgspec import Struct

from leastpriv.budget import Budget
from leastpriv.declared.models import (
    APPLICATION,
    LOCAL_PATH,
    UNKNOWN,
    OpenText,
    Stack,
    open_text,
    value_text,
)
from leastpriv.errors import InputError

MANAGED_BUCKET = f"aws-sam-cli-managed-default-samclisourcebucket-{UNKNOWN}"
"""The bucket that `sam deploy --resolve-s3` makes (sam-cli-command-reference-sam-deploy.html in
https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/, read 2026-11-27).
"""
_FILES = ("CodeUri", "ContentUri", "DefinitionUri", "SchemaUri")
"""Properties that name a file."""
_TEXTS = ("SchemaUri", "Location")
"""Those whose place in S3 AWS SAM takes as one text."""
_LONGEST_CONFIG = 1024 * 1024
"""Bytes."""
_MOST_WORK = 10_000_000
"""Parts of keys times those of the longest key: Python's parser keeps the beginnings of each."""
_FUNCTION = "AWS::Serverless::Function"
_CODE = {_FUNCTION: "CodeUri", "AWS::Serverless::LayerVersion": "ContentUri"}
"""The property that names the code of a type."""
_OVERRIDE = re.compile(r"(?:ParameterKey=)?([A-Za-z0-9]+)(?:,ParameterValue)?=(\"[^\"]*\"|\S*)")


class _Session:
    """What the translator asks of a session of Boto3; nothing in the result depends on it."""

    region_name = "us-east-1"


def after_transform(
    document: Mapping[str, object],
    source: str,
    uploads: str,
    resolve: Callable[[object], object],
) -> Mapping[str, object]:
    """Returns the CloudFormation template that AWS SAM makes of a template.

    Args:
        document: the template, without loops.
        source: its file.
        uploads: bucket and beginning of the keys of uploaded files: `BUCKET/`, `BUCKET/PREFIX/`.
        resolve: the value of a function of the template, as far as that knows it.

    Raises:
        InputError: AWS SAM refuses the template.
    """
    from samtranslator.metrics.metrics import DummyMetricsPublisher, Metrics
    from samtranslator.model.exceptions import InvalidDocumentException
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator

    fragment = copy.deepcopy(dict(document))
    metadata = _Uploads(uploads, resolve).put_into(fragment)
    metrics = Metrics("leastpriv", DummyMetricsPublisher())
    try:
        translator = Translator(None, Parser(), boto_session=_Session(), metrics=metrics)
        translated: Mapping[str, Any] = translator.translate(
            fragment, {}, get_managed_policy_map=dict
        )
    except InvalidDocumentException as error:
        causes = "; ".join(
            str(getattr(cause, "message", cause))
            for cause in getattr(error, "causes", ()) or (error,)
        )
        raise InputError(f"{source}: AWS SAM rejects the template: {causes}") from error
    finally:
        # Otherwise the library warns of metrics that nothing takes.
        metrics.publish()
    for logical, own_metadata in metadata.items():
        translated["Resources"][logical]["Metadata"] = own_metadata
    return translated


def either_template(
    condition: str, one: Mapping[str, Any], other: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Returns a template that has the resources of one template or those of another, by a condition
    that only the deployment knows.

    What both have with different properties has those of one where the condition holds.
    """
    resources = dict(one["Resources"])
    for logical, entry in other["Resources"].items():
        known = resources.get(logical, entry)
        if known == entry:
            resources[logical] = entry
            continue
        branches = [condition, known.get("Properties") or {}, entry.get("Properties") or {}]
        resources[logical] = {**known, "Properties": {"Fn::If": branches}}
    return {**other, **one, "Resources": resources}


class _Uploads(Struct, frozen=True):
    """Puts the place of uploaded files where a template names local ones, as `sam package` does."""

    start: str
    """Bucket and beginning of the keys of uploaded files."""
    resolve: Callable[[object], object]

    def put_into(self, fragment: dict[str, Any]) -> dict[str, dict[str, object]]:
        """Changes a template.

        Returns:
            The metadata of nested applications, by logical id.
        """
        global_section = fragment.get("Globals")
        sections = global_section if isinstance(global_section, dict) else {}
        for section in sections.values():
            self._name_files(section)
        resources = fragment.get("Resources")
        metadata: dict[str, dict[str, object]] = {}
        for logical, entry in resources.items() if isinstance(resources, dict) else ():
            if not is_of_sam(entry):
                continue
            if entry.get("Type") in _CODE and entry.get("Properties") is None:
                entry["Properties"] = {}
            properties = entry.get("Properties")
            if not isinstance(properties, dict):
                continue
            if application := self._name_application(properties):
                metadata[logical] = application
            self._name_files(properties)
            self._name_code(str(entry["Type"]), properties, sections.get("Function"))
            body = properties.get("DefinitionBody")
            if isinstance(body, dict) and "Fn::Transform" in body:
                # AWS puts what another transform reads in its place first.
                properties["DefinitionBody"] = _any_definition(entry["Type"])
        return metadata

    def _name_application(self, properties: dict[str, Any]) -> dict[str, object]:
        """Names the template of a nested application, a file or a published one; returns its
        metadata.
        """
        location = properties.get("Location")
        if isinstance(location, dict) and "ApplicationId" in location:
            # The translator would ask AWS for the template.
            properties["Location"] = UNKNOWN
            return {APPLICATION: location["ApplicationId"]}
        if isinstance(location, dict):
            location_value = self.resolve(location)
            location = location_value if isinstance(location_value, str) else UNKNOWN
            properties["Location"] = location
        if not _is_local(location):
            return {}
        properties["Location"] = self._uploaded("Location")
        return {LOCAL_PATH: location}

    def _name_files(self, properties: object) -> None:
        """Names the place of each file of some properties."""
        if not isinstance(properties, dict):
            return
        for key in _FILES:
            file_value = properties.get(key)
            if _is_local(file_value) or isinstance(file_value, dict):
                properties[key] = self._place_of(key, file_value)

    def _place_of(self, key: str, given: object) -> object:
        """Where a file is: in S3 if a property says so, itself or by a function, else uploaded."""
        if isinstance(given, dict) and {"Bucket", "Key"} <= {*given}:
            return given
        branches = given.get("Fn::If") if isinstance(given, dict) else None
        if isinstance(branches, list) and len(branches) == 3:
            condition, if_true, if_false = branches
            return _either(condition, self._place_of(key, if_true), self._place_of(key, if_false))
        resolved = self.resolve(given)
        if not isinstance(resolved, str) or "://" not in resolved:
            return self._uploaded(key)
        if key in _TEXTS or not resolved.startswith("s3://"):
            return resolved
        address, _, _ = open_text(resolved).partition("${?}versionId=")
        bucket, _, name = address.removeprefix("s3://").partition("/")
        return {"Bucket": OpenText(bucket), "Key": OpenText(name)}

    def _uploaded(self, key: str) -> object:
        """Where a local file is after the upload, whose key has a hash."""
        bucket, _, prefix = self.start.partition("/")
        if key in _TEXTS:
            return OpenText(f"s3://{bucket}/{prefix}{UNKNOWN}")
        return {"Bucket": OpenText(bucket), "Key": OpenText(f"{prefix}{UNKNOWN}")}

    def _name_code(self, kind: str, properties: dict[str, Any], shared: object) -> None:
        """Names the upload of a function or layer without a path: `sam build` takes the folder of
        the template, or builds the image of its Dockerfile.
        """
        key = _CODE.get(kind, "")
        given_keys = {*properties, *(shared if isinstance(shared, dict) else ())}
        if kind == _FUNCTION and properties.get("PackageType") == "Image":
            properties.setdefault("ImageUri", UNKNOWN)
        elif key and not {key, "InlineCode"} & given_keys:
            properties[key] = self._uploaded(key)


def is_of_sam(entry: object) -> bool:
    """Returns whether an entry of a template's resources has a type of AWS SAM."""
    return isinstance(entry, dict) and str(entry.get("Type")).startswith("AWS::Serverless::")


def _is_local(value: object) -> bool:
    """Whether a property names a local file; it may be a place in S3."""
    return isinstance(value, str) and "://" not in value


def _either(condition: object, if_true: object, if_false: object) -> object:
    """The place of a file by a condition; the first of two texts, of which AWS SAM takes one."""
    if not isinstance(if_true, dict) or not isinstance(if_false, dict):
        return if_true
    return {key: {"Fn::If": [condition, if_true[key], if_false[key]]} for key in ("Bucket", "Key")}


def _any_definition(type_name: object) -> dict[str, Any]:
    """A definition of an API that AWS SAM takes in place of one that is not known."""
    if type_name == "AWS::Serverless::HttpApi":
        return {"openapi": "3.0.1", "paths": {}}
    return {"swagger": "2.0", "paths": {}}


def deployed_as(raw: bytes) -> Stack:
    """Returns how a `samconfig.toml` deploys: stack, parameters, tags, bucket, as far as it says
    so.

    Raises:
        InputError: it is too large, or no TOML; the message continues a sentence about the file.
    """
    dots = [line.count(b".") + 1 for line in raw.splitlines()]
    if len(raw) > _LONGEST_CONFIG or sum(dots) * max(dots, default=0) > _MOST_WORK:
        raise InputError("too large to read")
    try:
        config = tomllib.loads(raw.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise InputError("cannot be read as TOML") from error
    options: dict[str, Any] = {}
    default = _table(config, "default")
    for command in ("global", "deploy"):
        options.update(_table(_table(default, command), "parameters"))
    overrides = options.get("parameter_overrides", "")
    if isinstance(overrides, list):
        overrides = " ".join(map(str, overrides))
    stack_name = options.get("stack_name")
    prefix = open_text(options.get("s3_prefix") or "").strip("/")
    bucket = ""
    if not options.get("resolve_s3"):
        bucket = open_text(options.get("s3_bucket") or "")
    _, _, repository = open_text(options.get("image_repository") or "").partition("/")
    return Stack(
        name=open_text(stack_name) if stack_name else UNKNOWN,
        parameters={key: value.strip('"') for key, value in _OVERRIDE.findall(str(overrides))},
        tagged=bool(options.get("tags")),
        bucket=bucket,
        prefix=f"{prefix}/" if options.get("s3_prefix") else "",
        repository=repository,
    )


def _table(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A table of TOML, or an object of JSON; empty where there is none."""
    value = config.get(name)
    return value if isinstance(value, dict) else {}


def parameter_values(raw: bytes, source: str) -> Mapping[str, str]:
    """Returns the values of a file of parameters.

    It may be a list as `aws cloudformation --parameters` takes it, have them under `Parameters` as
    the deployment of CodePipeline does, or be a mapping of names.

    Raises:
        InputError: it is none of these.
    """
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source} is no JSON with parameters of a template: {error}") from error
    parameters: Mapping[str, object] = {}
    if isinstance(content, dict):
        parameters = _table(content, "Parameters") if "Parameters" in content else content
    elif isinstance(content, list):
        parameters = _listed_parameters(content)
    else:
        raise InputError(f"{source} has no parameters of a template.")
    return {name: _parameter_text(value) for name, value in parameters.items() if value is not None}


def _listed_parameters(entries: Sequence[object]) -> dict[str, object]:
    """The values of a list with a `ParameterKey` and a `ParameterValue` in each entry."""
    parameters: dict[str, object] = {}
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        key = entry.get("ParameterKey")
        value = entry.get("ParameterValue")
        if key is not None and value is not None:
            parameters[str(key)] = value
    return parameters


def _parameter_text(value: object) -> str:
    """The text of a parameter; of a list, its elements with commas."""
    if isinstance(value, list):
        return ",".join(map(value_text, value))
    return value_text(value)


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
        return [without_loops(element, items, budget, level + 1) for element in value]
    if not isinstance(value, Mapping):
        return value
    members_of_value: dict[str, object] = {}
    for key, member in value.items():
        if _is_loop(key, member):
            variable, collection, body = member
            for item in items(collection):
                copied = _replaced(body, str(variable), item, budget)
                expanded = without_loops(copied, items, budget, level + 1)
                members_of_value.update(expanded if isinstance(expanded, dict) else {})
        else:
            members_of_value[key] = without_loops(member, items, budget, level + 1)
    return members_of_value


def _is_loop(key: str, value: object) -> bool:
    """Whether a member is a loop: a variable, items, and a body with members."""
    if not key.startswith(_LOOP) or not isinstance(value, list) or len(value) != _PARTS:
        return False
    return isinstance(value[2], Mapping)


def _replaced(value: object, name: str, item: str, budget: Budget) -> object:
    """A value with an item in place of the variable of its loop; `&{…}` takes letters and digits
    alone.
    """
    budget.spend()
    if isinstance(value, str):
        # What only the deployment knows remains a variable without a value.
        is_open = isinstance(item, OpenText) and UNKNOWN in item
        with_braces = value if is_open else value.replace(f"${{{name}}}", item)
        replaced = with_braces.replace(f"&{{{name}}}", re.sub("[^A-Za-z0-9*]", "", item))
        budget.spend(characters=len(replaced))
        return replaced
    if isinstance(value, list):
        return [_replaced(element, name, item, budget) for element in value]
    if isinstance(value, Mapping):
        if value == {"Ref": name}:
            return item
        return {
            str(_replaced(key, name, item, budget)): _replaced(member, name, item, budget)
            for key, member in value.items()
        }
    return value

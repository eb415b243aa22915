"""Decodes HTTP requests to operations and parameters, and encodes answers: query with XML, JSON by
target or path.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape

from botocore.model import OperationModel, ServiceModel

Parameters = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """A received request; header names in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to send."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...]


class UnreadableError(Exception):
    """The request is not one of the service."""


def read(message: Message, service: ServiceModel) -> tuple[OperationModel, Parameters]:
    """Return the operation and the parameters of a request.

    Raises:
        UnreadableError: it is no request of the service, or of an unsupported protocol.
    """
    if service.protocol == "query":
        form = {
            key: values[-1]
            for key, values in parse_qs(message.body.decode(), keep_blank_values=True).items()
        }
        found = service.operation_model(form.pop("Action", ""))
        form.pop("Version", None)
        return found, _from_form(form, found.input_shape)
    if service.protocol == "json":
        found = service.operation_model(message.headers.get("x-amz-target", "").rpartition(".")[2])
        return found, _from_json(json.loads(message.body or b"{}"), found.input_shape) or {}
    if service.protocol == "rest-json":
        return _by_path(message, service)
    raise UnreadableError(f"{service.service_name} speaks {service.protocol}")


def answer(found: OperationModel, value: Mapping[str, Any]) -> Reply:
    """The answer of an operation."""
    if found.service_model.protocol == "query":
        name = found.name
        inner = _xml(value, found.output_shape) if found.output_shape else ""
        result = f"<{name}Result>{inner}</{name}Result>" if found.output_shape else ""
        namespace = found.service_model.metadata.get("xmlNamespace", "")
        text = f'<{name}Response xmlns="{namespace}">{result}{_IDENTITY}</{name}Response>'
        return Reply(200, text.encode(), (("Content-Type", "text/xml"),))
    status = int(found.http.get("responseCode", 200))
    text = json.dumps(_to_json(value, found.output_shape) if found.output_shape else {})
    return Reply(status, text.encode(), (("Content-Type", _json_type(found.service_model)),))


def error_reply(service: ServiceModel, code: str, message: str, status: int) -> Reply:
    """The answer of an operation that failed."""
    if service.protocol == "query":
        who = "Sender" if status < 500 else "Receiver"
        text = f"<Error><Type>{who}</Type><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
        body = f"<ErrorResponse>{text}<RequestId>{REQUEST_ID}</RequestId></ErrorResponse>"
        return Reply(status, body.encode(), (("Content-Type", "text/xml"),))
    headers = (("Content-Type", _json_type(service)), ("x-amzn-ErrorType", code))
    return Reply(status, json.dumps({"__type": code, "message": message}).encode(), headers)


REQUEST_ID = "00000000-1111-2222-3333-444444444444"
_IDENTITY = f"<ResponseMetadata><RequestId>{REQUEST_ID}</RequestId></ResponseMetadata>"
_IN_PATH = re.compile(r"\\\{(\w+)(\\\+)?\\\}")


def _json_type(service: ServiceModel) -> str:
    version = service.metadata.get("jsonVersion")
    return f"application/x-amz-json-{version}" if service.protocol == "json" else "application/json"


def _by_path(message: Message, service: ServiceModel) -> tuple[OperationModel, Parameters]:
    for name in service.operation_names:
        found = service.operation_model(name)
        uri = re.escape(found.http["requestUri"].partition("?")[0])
        pattern = _IN_PATH.sub(lambda part: f"(?P<{part[1]}>{'.+' if part[2] else '[^/]+'})", uri)
        match = re.fullmatch(pattern, message.path)
        if match and found.http["method"] == message.method:
            given = {key: unquote(text) for key, text in match.groupdict().items()}
            return found, _rest(message, found, given)
    raise UnreadableError(f"{service.service_name} has no {message.method} {message.path}")


def _rest(message: Message, found: OperationModel, in_path: Mapping[str, str]) -> Parameters:
    query = {
        key: values[-1] for key, values in parse_qs(message.query, keep_blank_values=True).items()
    }
    body = json.loads(message.body) if message.body else {}
    places: Mapping[str, Mapping[str, Any]] = {
        "uri": in_path,
        "querystring": query,
        "header": message.headers,
    }
    parameters: Parameters = {}
    for name, shape in found.input_shape.members.items() if found.input_shape else ():
        place = shape.serialization.get("location", "body")
        given = places.get(place, body).get(shape.serialization.get("name", name))
        if given is not None:
            parameters[name] = (
                _number(given, shape) if place != "body" else _from_json(given, shape)
            )
    return parameters


def _from_json(value: Any, shape: Any) -> Any:
    if value is None or shape is None:
        return value
    if shape.type_name == "structure":
        names = {
            member.serialization.get("name", name): name for name, member in shape.members.items()
        }
        given = ((names.get(key, key), item) for key, item in value.items())
        return {name: _from_json(item, shape.members.get(name)) for name, item in given}
    if shape.type_name == "list":
        return [_from_json(item, shape.member) for item in value]
    if shape.type_name == "map":
        return {key: _from_json(item, shape.value) for key, item in value.items()}
    return value


def _from_form(form: Mapping[str, str], shape: Any, prefix: str = "") -> Parameters:
    """Members `A=1`, `List.member.1=x`, `Inner.B=2` as a structure; an unknown member keeps its
    name.
    """
    members = shape.members if shape else {}
    places = {
        name: prefix + member.serialization.get("name", name) for name, member in members.items()
    }
    found: Parameters = {}
    for name, at in places.items():
        mine = _below(form, at)
        if mine:
            found[name] = _form_value(mine, members[name], at)
    known = {key for at in places.values() for key in _below(form, at)}
    return found | {key: text for key, text in form.items() if key not in known}


def _form_value(form: Mapping[str, str], shape: Any, at: str) -> Any:
    if shape.type_name == "structure":
        return _from_form(form, shape, f"{at}.")
    if shape.type_name == "list":
        own = shape.member.serialization.get("name", "member")
        step = at if shape.serialization.get("flattened") else f"{at}.{own}"
        numbers = sorted(
            {int(key[len(step) + 1 :].split(".")[0]) for key in form if key.startswith(f"{step}.")}
        )
        return [
            _form_value(_below(form, f"{step}.{one}"), shape.member, f"{step}.{one}")
            for one in numbers
        ]
    return _number(form[at], shape)


def _below(form: Mapping[str, str], at: str) -> dict[str, str]:
    return {key: text for key, text in form.items() if key == at or key.startswith(f"{at}.")}


def _number(text: str, shape: Any) -> Any:
    if shape.type_name in ("integer", "long"):
        return int(text)
    return text == "true" if shape.type_name == "boolean" else text


def _to_json(value: Any, shape: Any) -> Any:
    if getattr(shape, "is_document_type", False):
        return value
    if shape.type_name == "structure":
        members = ((name, item) for name, item in value.items() if item is not None)
        return {
            shape.members[name].serialization.get("name", name): _to_json(item, shape.members[name])
            for name, item in members
        }
    if shape.type_name == "list":
        return [_to_json(item, shape.member) for item in value]
    if shape.type_name == "map":
        return {key: _to_json(item, shape.value) for key, item in value.items()}
    if isinstance(value, datetime):
        return (
            _iso(value)
            if shape.serialization.get("timestampFormat") == "iso8601"
            else value.timestamp()
        )
    return value


def _xml(value: Any, shape: Any) -> str:
    if shape.type_name == "structure":
        return "".join(
            _element(shape.members[name], shape.members[name].serialization.get("name", name), item)
            for name, item in value.items()
            if item is not None
        )
    if shape.type_name == "list":
        name = shape.member.serialization.get("name", "member")
        return "".join(_element(shape.member, name, item) for item in value)
    if shape.type_name == "map":
        entries = (
            f"<key>{escape(key)}</key><value>{_xml(item, shape.value)}</value>"
            for key, item in value.items()
        )
        return "".join(f"<entry>{entry}</entry>" for entry in entries)
    if isinstance(value, datetime):
        return _iso(value)
    return str(value).lower() if isinstance(value, bool) else escape(str(value))


def _element(shape: Any, name: str, value: Any) -> str:
    if shape.type_name == "list" and shape.serialization.get("flattened"):
        return "".join(f"<{name}>{_xml(item, shape.member)}</{name}>" for item in value)
    return f"<{name}>{_xml(value, shape)}</{name}>"


def _iso(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

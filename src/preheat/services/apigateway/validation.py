"""Request validators: required parameters and bodies against models.

Source: developer guide, "Request validation for REST APIs"; refusals: the fidelity sheet.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from preheat.services.apigateway import refusals
from preheat.services.apigateway.call import Call
from preheat.services.apigateway.refusals import Refused

_MODEL_URL = "/models/"


def check(call: Call) -> None:
    """Raise Refused (400) for a call that its method's validator does not let pass."""
    method = call.route.method
    validator = call.stage.deployment.validators.get(str(method.request_validator_id))
    if validator is None:
        return
    if validator.validate_request_parameters and isinstance(method.request_parameters, dict):
        missing = [
            name.rpartition(".")[2]
            for name, required in sorted(method.request_parameters.items())  # headers, path, query (recorded)
            if required and not _present(call, name)
        ]
        if missing:
            raise Refused(refusals.missing_parameters(missing))
    if validator.validate_request_body and isinstance(method.request_models, dict):
        _check_body(call, method.request_models)


def _present(call: Call, name: str) -> bool:
    """`method.request.<place>.<name>`, there and not blank."""
    place, _, key = name.removeprefix("method.request.").partition(".")
    if place == "header":
        return bool((call.request.header(key) or "").strip())
    found = call.query() if place == "querystring" else call.path_parameters
    return bool(found.get(key, "").strip())


def _check_body(call: Call, models: Mapping[str, str]) -> None:
    """A Content-Type that no model is for is not validated."""
    content_type = (call.request.header("content-type") or "application/json").partition(";")[0].strip().lower()
    name = models.get(content_type) or models.get("$default")
    schema = call.stage.deployment.models.get(name) if name else None
    if schema is None:
        return
    try:
        document = json.loads(call.request.body or b"{}")
    except ValueError as error:
        raise Refused(refusals.INVALID_BODY._replace(detail=f"Invalid JSON: {error}"), str(error)) from error
    problem = first_problem(schema, call.stage.deployment.models, document)
    if problem is not None:
        raise Refused(refusals.INVALID_BODY._replace(detail=f"[{problem}]"), problem)


def first_problem(schema: str, models: Mapping[str, str], document: Any) -> str | None:
    """What is wrong with a document, in the validator's words; None where it is valid.

    Raises ValueError for what is no schema. `$ref` may name another model of the API by its URL.
    """
    error = next(iter(_validator(schema, tuple(sorted(models.items()))).iter_errors(document)), None)
    return None if error is None else str(error.message)


@functools.lru_cache(maxsize=256)
def _validator(schema: str, models: tuple[tuple[str, str], ...]) -> Any:
    import jsonschema_rs

    schemas = dict(models)

    def retrieve(uri: str) -> Any:
        name = uri.rpartition(_MODEL_URL)[2]
        if name not in schemas:
            raise ValueError(f"{uri} names no model of this API")
        return json.loads(schemas[name])

    return jsonschema_rs.Draft4Validator(json.loads(schema), retriever=retrieve)

"""Parameters against the model's constraints, refused in the words AWS uses.

`1 validation error detected: Value '' at 'functionName' failed to satisfy constraint: Member must ...`. The words and
their order (pattern before length) are from AWS answers quoted in public, for example Cognito's
`2 validation errors detected: Value 'Aaaa' at 'userCode' ... regular expression pattern: [0-9]+; Value 'Aaaa' at
'userCode' ... Member must have length greater than or equal to 6`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from preheat.aws.model import Operation, ServiceModel, Shape
from preheat.kernel.errors import AwsError

Check = Callable[[Any, str, list[str]], None]
"""(value, path, problems): appends what is wrong."""
Rule = tuple[Callable[[Any], bool], str]
"""(is it satisfied, AWS's words for it)."""

_NOT_NULL = "Member must not be null"
_RECORDED_ORDERS = {
    frozenset(values): values
    for values in (
        ("add", "remove", "move", "test", "replace", "copy"),
        ("PRIVATE", "EDGE", "REGIONAL"),
        ("HTTP", "MOCK", "AWS_PROXY", "HTTP_PROXY", "AWS"),
        (
            *(
                "REQUEST_TOO_LARGE",
                "RESOURCE_NOT_FOUND",
                "AUTHORIZER_CONFIGURATION_ERROR",
                "MISSING_AUTHENTICATION_TOKEN",
            ),
            *("BAD_REQUEST_BODY", "INVALID_SIGNATURE", "INVALID_API_KEY", "BAD_REQUEST_PARAMETERS"),
            *("AUTHORIZER_FAILURE", "UNAUTHORIZED", "INTEGRATION_TIMEOUT", "ACCESS_DENIED", "DEFAULT_4XX"),
            *("DEFAULT_5XX", "WAF_FILTERED", "QUOTA_EXCEEDED", "THROTTLED", "API_CONFIGURATION_ERROR"),
            *("UNSUPPORTED_MEDIA_TYPE", "INTEGRATION_FAILURE", "EXPIRED_TOKEN"),
        ),
    )
}
"""AWS's messages list these values in another order than its model (recorded: localstack's test_apigateway_api)."""
_SEPARATORS = "\\u0020\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"


class Validator:
    """The checks of one service's operations, compiled at first use."""

    def __init__(self, model: ServiceModel) -> None:
        self._code = _error_code(model)
        # API Gateway puts the name of its own input type before each path: 'putIntegrationInput.type'.
        self._prefixed = model.name == "apigateway"
        self._of_ecr = model.name == "ecr"
        self._memo: dict[str, Check] = {}

    def validate(self, operation: Operation, params: Mapping[str, Any]) -> None:
        """Raise the AwsError that AWS would for parameters outside the model's constraints."""
        if operation.input is None:
            return
        problems: list[str] = []
        path = f"{_lower_first(operation.name)}Input" if self._prefixed else ""
        _structure_check(operation.input, self._memo)(params, path, problems)
        if problems and self._prefixed:
            problems = _as_api_gateway(problems, path, operation.input)
        if problems and self._of_ecr:
            raise AwsError(self._code, _as_ecr(problems[0]), 400)
        if problems:
            count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected: "
            raise AwsError(self._code, count + "; ".join(problems), 400)


def _error_code(model: ServiceModel) -> str:
    if "query" in model.protocols:
        return "ValidationError"
    return "InvalidParameterException" if "InvalidParameterException" in model.errors else "ValidationException"


def _as_api_gateway(problems: list[str], path: str, shape: Shape) -> list[str]:
    """Members of the URL are named bare and come last; lists do not say that elements may not be null (recorded in
    localstack's test_apigateway_api: test_update_method_response_negative_tests, ..._with_endpoint_configuration)."""
    for name, member in shape.members.items():
        if member.traits.get("location") == "uri":
            own, bare = f"'{path}.{_lower_first(name)}'", f"'{_lower_first(name)}'"
            problems = sorted((text.replace(own, bare) for text in problems), key=lambda text: bare in text)
    return [text.replace(f", {_NOT_NULL}]", "]") for text in problems]


def _as_ecr(problem: str) -> str:
    """ECR tells of the first problem, of a list's with "Member", of a name's without (answers quoted in public, for
    example jenkins-x/jx issue 1344, aws/aws-dotnet-deploy issue 549, puemos/aws-lambda-ecr-cleaner issue 3)."""
    match = re.fullmatch(r"Value (.*)at '([^']*)' failed to satisfy constraint: (.*)", problem, re.DOTALL)
    assert match is not None  # `_problem` has made it
    shown, path, words = match.groups()
    if not shown.startswith("'[") and not words.startswith("Member must satisfy enum"):
        words = re.sub(r"^Member (must satisfy regular expression) pattern: (.*)", r"\1 '\2'", words, flags=re.DOTALL)
        words = words.removeprefix("Member ")
    return f"Invalid parameter at '{path}' failed to satisfy constraint: '{words}'"


def _check(shape: Shape, memo: dict[str, Check]) -> Check | None:
    """None where the shape constrains nothing."""
    if shape.type == "structure":
        return None if shape.traits.get("document") else _structure_check(shape, memo)
    if shape.type == "list":
        return _list_check(shape, memo)
    if shape.type == "map":
        return _map_check(shape, memo)
    return _rules_check(_rules(shape), _is_sensitive(shape))


def _structure_check(shape: Shape, memo: dict[str, Check]) -> Check:
    if shape.name in memo:
        return memo[shape.name]
    members: list[tuple[str, str, bool, Check | None]] = []

    def check(value: Any, path: str, problems: list[str]) -> None:
        for name, lower, required, check_member in members:
            item = value.get(name)
            if item is None:
                if required:
                    problems.append(_problem("null", _join(path, lower), _NOT_NULL))
            elif check_member is not None:
                check_member(item, _join(path, lower), problems)

    memo[shape.name] = check
    required = set(shape.traits.get("required", ()))
    for name, member in shape.members.items():
        check_member = _check(member, memo)
        if check_member is not None or name in required:
            members.append((name, _lower_first(name), name in required, check_member))
    return check


def _list_check(shape: Shape, memo: dict[str, Check]) -> Check | None:
    own = _rules_check(_rules(shape), _is_sensitive(shape))
    element = shape.member
    sensitive = _is_sensitive(shape) or _is_sensitive(element)
    if element.type not in ("structure", "list", "map"):
        return _both(own, _collective_check(_rules(element), "Member must satisfy constraint", sensitive, list))
    each = _check(element, memo)
    if each is None:
        return own
    check_each = each

    def check(values: Any, path: str, problems: list[str]) -> None:
        for number, value in enumerate(values, 1):
            check_each(value, f"{path}.{number}.member", problems)

    return _both(own, check)


def _map_check(shape: Shape, memo: dict[str, Check]) -> Check | None:
    sensitive = _is_sensitive(shape) or _is_sensitive(shape.key) or _is_sensitive(shape.value)
    own = _rules_check(_rules(shape), sensitive)
    keys = _collective_check(_rules(shape.key), "Map keys must satisfy constraint", sensitive, dict.keys)
    if shape.value.type not in ("structure", "list", "map"):
        words = "Map value must satisfy constraint"
        return _both(_both(own, keys), _collective_check(_rules(shape.value), words, sensitive, dict.values))
    each = _check(shape.value, memo)
    if each is None:
        return _both(own, keys)
    check_each = each

    def check(values: Any, path: str, problems: list[str]) -> None:
        for key, value in values.items():
            check_each(value, f"{path}.{key}.member", problems)

    return _both(_both(own, keys), check)


def _both(first: Check | None, second: Check | None) -> Check | None:
    if first is None or second is None:
        return first or second
    one, other = first, second

    def check(value: Any, path: str, problems: list[str]) -> None:
        one(value, path, problems)
        other(value, path, problems)

    return check


def _rules_check(rules: list[Rule], sensitive: bool) -> Check | None:
    if not rules:
        return None

    def check(value: Any, path: str, problems: list[str]) -> None:
        for satisfied, words in rules:
            if not satisfied(value):
                problems.append(_problem(None if sensitive else _quoted(value), path, words))

    return check


def _collective_check(rules: list[Rule], words: str, sensitive: bool, items: Callable[[Any], Any]) -> Check | None:
    """Elements that are scalars are reported together: the whole collection with every constraint there is."""
    if not rules:
        return None
    ordered = sorted((text for _, text in rules), key=lambda text: not text.startswith("Member must have"))
    listing = f"{words}: [{', '.join([*ordered, _NOT_NULL])}]"

    def check(value: Any, path: str, problems: list[str]) -> None:
        if not all(satisfied(item) for item in items(value) if item is not None for satisfied, _ in rules):
            problems.append(_problem(None if sensitive else _quoted(value), path, listing))

    return check


def _rules(shape: Shape) -> list[Rule]:
    rules: list[Rule] = []
    traits = shape.traits
    if "enum" in traits:
        allowed = frozenset(traits["enum"])
        listing = ", ".join(_RECORDED_ORDERS.get(allowed, traits["enum"]))
        rules.append((allowed.__contains__, f"Member must satisfy enum value set: [{listing}]"))
    if "pattern" in traits and (pattern := _compile(traits["pattern"])) is not None:
        fullmatch = pattern.fullmatch
        words = f"Member must satisfy regular expression pattern: {traits['pattern']}"
        rules.append((lambda value: fullmatch(value) is not None, words))
    numeric = shape.type in ("integer", "long", "float", "double")
    measure: Callable[[Any], Any] = (lambda value: value) if numeric else len
    noun = "value" if numeric else "length"
    if (most := traits.get("max")) is not None:
        rules.append((lambda value: measure(value) <= most, f"Member must have {noun} less than or equal to {most}"))
    if (least := traits.get("min")) is not None:
        words = f"Member must have {noun} greater than or equal to {least}"
        rules.append((lambda value: measure(value) >= least, words))
    return rules


def _compile(pattern: str) -> re.Pattern[str] | None:
    """A Java pattern for Python; None where Python has no such syntax (then AWS's other rules still hold).

    Python's `\\w` stands for `\\p{L}\\p{N}_`: in the models the three always come together, in tag keys and values.
    """
    flags = re.NOFLAG if "\\p{" in pattern else re.ASCII
    text = pattern.replace("\\p{L}", "\\w").replace("\\p{N}", "").replace("\\p{Z}", _SEPARATORS)
    text = re.sub(r"(\\[wds])-(?!\])", r"\1\\-", text)  # Java reads the dash in [\w-_] as itself
    try:
        return re.compile(text, flags)
    except re.error:
        return None


def _is_sensitive(shape: Shape) -> bool:
    return bool(shape.traits.get("sensitive"))


def _problem(shown: str | None, path: str, words: str) -> str:
    """A sensitive value is never shown: `Value at 'environment.variables' failed ...`."""
    return f"Value {shown + ' ' if shown else ''}at '{path}' failed to satisfy constraint: {words}"


def _quoted(value: Any) -> str:
    return f"'{_java(value)}'"


def _java(value: Any) -> str:
    """How Java prints it: `[a, b]`, `{k=v}`, true."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={_java(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_java, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return f"java.nio.HeapByteBuffer[pos=0 lim={len(value)} cap={len(value)}]"
    return str(value)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _lower_first(name: str) -> str:
    return name[:1].lower() + name[1:]

"""Which runtimes AWS knows, which of them run here, and AWS's words for the others."""

from __future__ import annotations

from collections.abc import Iterable

from preheat.kernel.runtimes import CUSTOM
from preheat.services.lambda_.failures import constraint, constraints, invalid, not_built, problem

RUNTIMES = (*(f"python3.{minor}" for minor in range(8, 15)), *CUSTOM)
"""What functions may have here."""

_OFFERED = (
    "nodejs20.x, provided.al2023, python3.12, python3.13, nodejs22.x, java17, nodejs16.x, dotnet8, python3.10, java11, "
    "python3.11, dotnet6, java21, nodejs18.x, provided.al2, ruby3.3, java8.al2, ruby3.2, python3.8, python3.9"
)
"""AWS's list and its order, as its messages gave them (recorded 26 November 2024)."""
_LISTABLE = (
    "ruby2.6, dotnetcore1.0, python3.7, nodejs8.10, nasa, ruby2.7, python2.7-greengrass, dotnetcore2.0, python3.8, "
    "java21, dotnet6, dotnetcore2.1, python3.9, java11, nodejs6.10, provided, dotnetcore3.1, dotnet8, java17, nodejs, "
    "nodejs4.3, java8.al2, go1.x, nodejs20.x, go1.9, byol, nodejs10.x, provided.al2023, nodejs22.x, python3.10, java8, "
    "nodejs12.x, python3.11, nodejs8.x, python3.12, nodejs14.x, nodejs8.9, python3.13, nodejs16.x, provided.al2, "
    "nodejs4.3-edge, nodejs18.x, ruby3.2, python3.4, ruby3.3, ruby2.5, python3.6, python2.7"
)
"""By which layers may be listed (recorded likewise)."""
_SINCE = frozenset(["python3.14", "nodejs24.x", "java25", "dotnet10", "ruby3.4", "ruby4.0"])
"""Offered since that recording (botocore 1.44, enum Runtime)."""
_GONE = (
    *("python2.7", "python3.6", "python3.7", "java8", "go1.x", "ruby2.5", "ruby2.7", "provided"),
    *("nodejs", "nodejs4.3", "nodejs6.10", "nodejs8.10", "nodejs10.x", "nodejs12.x", "nodejs14.x"),
    *("dotnetcore1.0", "dotnetcore2.0", "dotnetcore2.1", "dotnetcore3.1"),
)
_KNOWN = frozenset([*_OFFERED.split(", "), *_LISTABLE.split(", "), *_SINCE])
_ARCHITECTURES = ("x86_64", "arm64")
_OF = "Member must satisfy enum value set: "


def checked_runtime(runtime: str) -> str:
    """The runtime of a function; raises AwsError in AWS's words, or 501 for one that only AWS has."""
    if runtime in RUNTIMES:
        return runtime
    if runtime in _GONE:
        raise invalid(
            f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. "
            "We recommend you use a supported runtime while creating or updating functions."
        )
    if runtime in _KNOWN:
        raise not_built(f"The runtime {runtime} (there are {', '.join(RUNTIMES)})")
    raise invalid(f"Value {runtime} at 'runtime' failed to satisfy constraint: {_OF}[{_OFFERED}] or be a valid ARN")


def check_listed_runtime(runtime: str | None) -> None:
    """Of ListLayers and ListLayerVersions."""
    if runtime is not None and runtime not in _KNOWN:
        raise constraint(runtime, "compatibleRuntime", f"{_OF}[{_LISTABLE}]")


def check_compatible(runtimes: Iterable[str], architectures: Iterable[str]) -> None:
    """What PublishLayerVersion is given; both lists are reported at once."""
    problems = []
    if not set(runtimes) <= _KNOWN:
        problems.append(problem(_listed(runtimes), "compatibleRuntimes", f"{_OF}[{_OFFERED}]"))
    if not set(architectures) <= set(_ARCHITECTURES):
        rule = f"Member must satisfy constraint: [{_OF}[{', '.join(_ARCHITECTURES)}]]"
        problems.append(problem(_listed(architectures), "compatibleArchitectures", rule))
    if problems:
        raise constraints(problems)


def _listed(values: Iterable[str]) -> str:
    return f"[{', '.join(values)}]"

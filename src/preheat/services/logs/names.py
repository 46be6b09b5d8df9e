"""Log groups by name or ARN. Pure."""

from __future__ import annotations

import re

_GROUP_ARN = re.compile(r"^arn:aws[a-z-]*:logs:[a-z0-9-]*:\d*:log-group:([^:]+)(?::\*)?$")


def group_name(identifier: str) -> str:
    """The group's name out of its name or ARN."""
    match = _GROUP_ARN.match(identifier)
    return match[1] if match else identifier

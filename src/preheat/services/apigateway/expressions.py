"""The little languages of integrations: what a URI may name, and what maps to what.

Source: developer guide, "Mapping parameters: data mapping reference".
"""

from __future__ import annotations

import ipaddress
import re

LAMBDA_URI = re.compile(
    r"arn:aws[\w-]*:apigateway:[\w-]*:lambda:path/{1,2}2015-03-31/functions/(?P<function>.+)/invocations"
)
"""AWS accepts one slash or two before the date (recorded)."""
STAGE_VARIABLE = re.compile(r"\$\{stageVariables\.(\w+)\}")

REQUEST_TARGET = re.compile(r"integration\.request\.(?P<place>header|querystring|path)\.(?P<name>.+)")
REQUEST_SOURCE = re.compile(
    r"'[^'\x00-\x1f]*'|method\.request\.(?:header|querystring|path|multivalueheader|multivaluequerystring)\..+"
    r"|method\.request\.body(?:\..+)?|stageVariables\..+|context\..+"
)
RESPONSE_TARGET = re.compile(r"method\.response\.header\.(?P<name>[!#$%&'*+\-.^_`|~0-9A-Za-z]+)")
RESPONSE_SOURCE = re.compile(
    r"'[^'\x00-\x1f]*'|integration\.response\.(?:header|multivalueheader)\..+|integration\.response\.body(?:\..+)?"
    r"|stageVariables\..+|context\..+"
)


def is_loopback(host: str) -> bool:
    """`localhost`, a name below it, or a loopback address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

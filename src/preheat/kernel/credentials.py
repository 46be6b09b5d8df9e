"""The temporary credentials in a function's environment. Whose they are stands in the token: nothing is stored."""

from __future__ import annotations

import base64
import json
import secrets
import string

_LETTERS = string.ascii_uppercase + "234567"


def function_credentials(role_arn: str, function_name: str) -> dict[str, str]:
    """The three variables, different for every environment, of a session of the function's role.

    It is named after the function; AWS adds to a name of one letter, because sessions' names have two (recorded).
    """
    session = function_name if len(function_name) > 1 else f"{function_name}@lambda_function"
    held = json.dumps([role_arn, session, secrets.token_hex(64)])
    return {
        "AWS_ACCESS_KEY_ID": "ASIA" + "".join(secrets.choice(_LETTERS) for _ in range(16)),
        "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(30),
        "AWS_SESSION_TOKEN": base64.b64encode(held.encode()).decode(),
    }


def role_session(token: str) -> tuple[str, str] | None:
    """(ARN of the role, name of the session) of a token from `function_credentials`, None for any other."""
    try:
        held = json.loads(base64.b64decode(token, validate=True))
    except ValueError:
        return None
    match held:
        case [str(role_arn), str(session), str()]:
            return role_arn, session
    return None

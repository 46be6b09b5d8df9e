"""The commands that a person can paste to call the function, in the form of the assignment's README."""

from __future__ import annotations


def curl(url: str, body: str) -> str:
    """For a POSIX shell: the body in double quotes, with what those expand escaped (POSIX 2.2.3)."""
    escaped = "".join(f"\\{character}" if character in '\\"$`' else character for character in body)
    return f'curl --header "Content-Type: application/json" --request POST --data "{escaped}" {url}'


def invoke_web_request(url: str, body: str) -> str:
    """For PowerShell: the body in single quotes, which are doubled inside (about_Quoting_Rules)."""
    quoted = body.replace("'", "''")
    return (
        f'Invoke-WebRequest -Method Post -Uri "{url}" `\n'
        ' -Headers @{ "Content-Type" = "application/json" } `\n'
        f" -Body '{quoted}'"
    )

"""Authorization tokens: what `aws ecr get-login-password` prints and Docker sends back as a password."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

LIFETIME_S = 12 * 3600
"""GetAuthorizationToken's expiresAt (FIDELITY: ECR)."""
USER = "AWS"
_SIGNATURE_BYTES = 32


def issue(secret: bytes, expires_s: int) -> str:
    """A token that says when it ends, signed; nothing to remember but the secret."""
    payload = str(expires_s).encode()
    return base64.urlsafe_b64encode(_sign(secret, payload) + payload).decode()


def expiry(secret: bytes, token: str) -> int | None:
    """When a token ends (epoch seconds); None for one that this secret did not sign."""
    try:
        raw = base64.b64decode(token, b"-_", validate=True)
    except ValueError:
        return None
    signature, payload = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
    if not hmac.compare_digest(signature, _sign(secret, payload)):
        return None
    return int(payload)


def basic_password(authorization: str | None) -> str | None:
    """The password of `Basic <base64 of AWS:password>`; None for anything else."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return password if user == USER else None


def _sign(secret: bytes, payload: bytes) -> bytes:
    return hmac.new(secret, payload, hashlib.sha256).digest()

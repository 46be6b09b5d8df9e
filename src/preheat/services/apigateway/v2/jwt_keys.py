"""JWT authorizers: tokens checked with an issuer's keys, from a file or from this machine.

Source: developer guide, "Control access to HTTP APIs with JWT authorizers": signature, `iss`, `aud` or `client_id`,
`exp`, `nbf`, `iat`, and the route's scopes in `scope` or `scp`. RSA-based algorithms, as there, and EC besides.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from preheat.services.apigateway.expressions import is_loopback

REACHABLE = "file:///path/to/jwks.json or a URL on this machine"
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
_KEYS_S = 300.0
_FETCH_S = 5.0


class Unauthorized(Exception):
    """No token, or none that holds: 401."""


class Forbidden(Exception):
    """A good token without any of the scopes that the route wants: 403."""


def is_reachable(issuer: str) -> bool:
    parts = urlsplit(issuer)
    return parts.scheme == "file" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))


def check(token: str, issuer: str, audience: list[str], scopes: list[str], keys: Mapping[str, Any]) -> dict[str, Any]:
    """`$context.authorizer.jwt` of a good token; `keys` are the issuer's, by their ids. Raises the two above."""
    import jwt

    try:
        header = jwt.get_unverified_header(token)
        key = keys.get(header.get("kid", "")) or (next(iter(keys.values())) if len(keys) == 1 else None)
        if key is None:
            raise Unauthorized("the token's key is not the issuer's")
        claims = jwt.decode(
            token, key, algorithms=_ALGORITHMS, issuer=issuer, options={"verify_aud": False, "require": ["exp"]}
        )
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise Unauthorized(str(error)) from error
    named = claims.get("aud", claims.get("client_id"))
    if not set(audience) & set(named if isinstance(named, list) else [named]):
        raise Unauthorized("the token is for another audience")
    held = claims.get("scope", claims.get("scp", ""))
    held = held.split() if isinstance(held, str) else held
    if scopes and not set(scopes) & set(held):
        raise Forbidden("none of the route's scopes")
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in claims.items()}
    return {"claims": texts, "scopes": [scope for scope in scopes if scope in held] or None}


class IssuerKeys:
    """The keys of issuers, kept for five minutes."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, dict[str, Any]]] = {}

    def of(self, issuer: str) -> dict[str, Any]:
        """Keys by their ids. Blocks while it fetches. Raises Unauthorized where the issuer has none."""
        kept = self._kept.get(issuer)
        if kept is not None and kept[0] > time.monotonic():
            return kept[1]
        import jwt

        try:
            keys = {key.key_id or "": key for key in jwt.PyJWKSet.from_dict(_key_set(issuer)).keys}
        except (OSError, ValueError, KeyError, TypeError, jwt.PyJWTError) as error:
            raise Unauthorized(f"issuer {issuer}: {error}") from error
        self._kept[issuer] = (time.monotonic() + _KEYS_S, keys)
        return keys

    def known(self, issuer: str) -> dict[str, Any] | None:
        """The kept keys, None where they must be fetched."""
        kept = self._kept.get(issuer)
        return kept[1] if kept is not None and kept[0] > time.monotonic() else None


def _key_set(issuer: str) -> dict[str, Any]:
    """The JWK set: the file itself, or what the issuer's discovery document names (OpenID Connect Discovery 1.0)."""
    if issuer.startswith("file://"):
        found: dict[str, Any] = json.loads(Path(urlsplit(issuer).path).read_bytes())
        return found
    uri = _get(issuer.rstrip("/") + "/.well-known/openid-configuration")["jwks_uri"]
    if not is_reachable(uri):
        raise ValueError(f"jwks_uri {uri} is not on this machine")
    return _get(uri)


def _get(uri: str) -> dict[str, Any]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(uri, timeout=_FETCH_S) as response:
        found: dict[str, Any] = json.loads(response.read(1_000_000))
    return found

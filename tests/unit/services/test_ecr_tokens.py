"""Tokens: only what was signed with the secret opens, whatever else is tried."""

from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st

from preheat.services.ecr import tokens


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**40))
def test_a_token_tells_its_end_to_who_has_the_secret(secret: bytes, expires_s: int) -> None:
    token = tokens.issue(secret, expires_s)
    assert tokens.expiry(secret, token) == expires_s
    assert tokens.expiry(secret + b"x", token) is None


@given(st.text())
def test_no_other_text_is_a_token(text: str) -> None:
    assert tokens.expiry(b"secret", text) is None


@given(st.text())
def test_a_password_comes_from_basic_authorization_only(text: str) -> None:
    header = "Basic " + base64.b64encode(f"AWS:{text}".encode(errors="replace")).decode()
    assert tokens.basic_password(header) == text.encode(errors="replace").decode()
    assert tokens.basic_password(f"Bearer {text}") is None
    assert tokens.basic_password(None) is None

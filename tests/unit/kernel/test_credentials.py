"""The credentials of a function's environment: AWS's shapes, different every time, and whose they are."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.kernel.credentials import function_credentials, role_session

ROLE = "arn:aws:iam::000000000000:role/team/LabRole"


def test_they_look_like_those_of_a_session_and_no_two_are_the_same() -> None:
    first, second = (function_credentials(ROLE, "iris") for _ in range(2))
    assert re.fullmatch("ASIA[A-Z2-7]{16}", first["AWS_ACCESS_KEY_ID"])
    assert len(first["AWS_SECRET_ACCESS_KEY"]) == 40
    assert all(first[name] != second[name] for name in first)


@pytest.mark.parametrize(("function", "session"), [("iris", "iris"), ("zz", "zz"), ("u", "u@lambda_function")])
def test_the_token_says_whose_they_are(function: str, session: str) -> None:
    token = function_credentials(ROLE, function)["AWS_SESSION_TOKEN"]
    assert role_session(token) == (ROLE, session)


@given(st.one_of(st.text(), st.sampled_from(["", "test", "bnVsbA==", "WzFd", "ImFiYyI=", "WzEsMiwzXQ=="])))
def test_any_other_token_is_nobodys(token: str) -> None:
    assert role_session(token) is None

"""Names of images, as Docker reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.oci.client import is_loopback
from preheat.oci.digest import digest_of
from preheat.oci.reference import Reference

DIGEST = digest_of(b"x")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("iris", ("", "iris", "latest", "")),
        ("iris_image:v1", ("", "iris_image", "v1", "")),
        ("team/iris", ("", "team/iris", "latest", "")),
        ("127.0.0.1:4566/iris", ("127.0.0.1:4566", "iris", "latest", "")),
        ("localhost/iris:a", ("localhost", "iris", "a", "")),
        (f"host.example/a/b@{DIGEST}", ("host.example", "a/b", "", DIGEST)),
        (f"iris:v1@{DIGEST}", ("", "iris", "v1", DIGEST)),
        ("[::1]:4566/iris", ("[::1]:4566", "iris", "latest", "")),
        (
            "000000000000.dkr.ecr.us-east-1.localhost:4566/iris:1",
            ("000000000000.dkr.ecr.us-east-1.localhost:4566", "iris", "1", ""),
        ),
    ],
)
def test_a_name_is_taken_apart(text: str, parts: tuple[str, ...]) -> None:
    reference = Reference.parse(text)
    assert (reference.registry, reference.repository, reference.tag, reference.digest) == parts
    assert Reference.parse(str(reference)) == reference


@pytest.mark.parametrize(
    "text", ["", "Iris", "iris:", "iris:a b", "a//b", "/iris", "iris@sha256:1", "-x", "http://h/iris"]
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Reference.parse(text)


@given(st.text())
def test_any_text_is_a_name_or_a_value_error(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except ValueError:
        return
    assert Reference.parse(str(reference)) == reference


def test_loopback_is_this_machine_and_nothing_else() -> None:
    ours = ["localhost", "localhost:1", "127.0.0.1:4566", "127.1.2.3", "[::1]:1", "a.dkr.ecr.b.localhost:4566"]
    assert all(map(is_loopback, ours))
    theirs = ["example.com", "127.0.0.1.example.com", "localhost.example.com", "10.0.0.1:4566", ""]
    assert not any(map(is_loopback, theirs))

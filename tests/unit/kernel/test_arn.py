import pytest

from preheat.kernel.arn import function_arn, invocation_arn, parse_function, read_function


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        ("iris", ("iris", None)),
        ("iris:$LATEST", ("iris", "$LATEST")),
        ("iris:prod", ("iris", "prod")),
        ("function:iris", ("iris", None)),
        ("000000000000:function:iris", ("iris", None)),
        ("arn:aws:lambda:us-east-1:000000000000:function:iris", ("iris", None)),
        ("arn:aws:lambda:us-east-1:000000000000:function:iris:7", ("iris", "7")),
        ("arn:aws:lambda:us-east-1:000000000000:function", ("function", None)),
        ("us-east-1:000000000000:function:iris:7", ("iris", "7")),
    ],
)
def test_every_accepted_form(identifier: str, expected: tuple[str, str | None]) -> None:
    assert parse_function(identifier) == expected


@pytest.mark.parametrize(
    "identifier",
    [
        "",
        "a b",
        "arn:aws:s3:::bucket",
        "x" * 141,
        "iris:",
        "../iris",
        "a:b:c",
        "arn:aws:lambda:nowhere:000000000000:function:iris",
    ],
)
def test_refused(identifier: str) -> None:
    with pytest.raises(ValueError, match="not a function name"):
        parse_function(identifier)


def test_what_an_arn_says_beside_the_name() -> None:
    assert read_function("arn:aws:lambda:eu-west-1:123456789012:function:iris:prod") == (
        *("iris", "prod"),
        *("eu-west-1", "123456789012"),
    )
    assert read_function("iris") == ("iris", None, None, None)


def test_arns() -> None:
    arn = function_arn("us-east-1", "000000000000", "iris")
    assert parse_function(arn) == ("iris", None)
    assert invocation_arn("us-east-1", arn) == (
        "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/"
        "arn:aws:lambda:us-east-1:000000000000:function:iris/invocations"
    )

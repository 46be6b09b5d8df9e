import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.aws import timestamps

MOMENT = datetime(2019, 12, 16, 23, 48, 18, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        1576540098,
        1576540098.0,
        "1576540098",
        "1.576540098e9",
        "2019-12-16T23:48:18Z",
        "2019-12-16T22:48:18-01:00",
        "2019-12-16T23:48:18",
        "Mon, 16 Dec 2019 23:48:18 GMT",
    ],
)
def test_parse(value: str | float) -> None:
    assert timestamps.parse(value) == MOMENT


@pytest.mark.parametrize("value", ["", "soon", "2019-13-01T00:00:00Z", 1e300, "9" * 30, "0001-01-01T00:00:00+23:00"])
def test_parse_refuses(value: str | float) -> None:
    with pytest.raises(ValueError, match=r".+"):
        timestamps.parse(value)


@pytest.mark.parametrize(
    ("style", "text"),
    [
        ("iso8601", "2019-12-16T23:48:18Z"),
        ("rfc822", "Mon, 16 Dec 2019 23:48:18 GMT"),
        ("unixTimestamp", "1576540098"),
    ],
)
def test_render(style: str, text: str) -> None:
    assert timestamps.render(MOMENT, style) == text


@given(st.datetimes(timezones=st.just(UTC)))
def test_round_trip_to_the_millisecond(moment: datetime) -> None:
    moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    assert timestamps.parse(timestamps.render(moment, "iso8601")) == moment
    assert abs(timestamps.parse(timestamps.epoch_seconds(moment)) - moment).total_seconds() < 0.001


@given(st.text(max_size=30))
def test_text_parses_or_raises_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert timestamps.parse(text).tzinfo is UTC

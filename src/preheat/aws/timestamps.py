"""AWS's three timestamp formats: iso8601, rfc822 and unixTimestamp (Smithy: protocol timestamp formats)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")


def parse(value: str | int | float) -> datetime:
    """An aware UTC time from any of the formats, as AWS's servers take them. Raises ValueError."""
    if isinstance(value, str):
        return _parse_text(value.strip())
    try:
        return _EPOCH + timedelta(seconds=value)
    except OverflowError as error:
        raise ValueError(f"timestamp out of range: {value}") from error


def _parse_text(text: str) -> datetime:
    if _NUMBER.fullmatch(text):
        return parse(float(text))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except (TypeError, IndexError) as error:
            raise ValueError(f"not a timestamp: {text!r}") from error
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"timestamp out of range: {text!r}") from error


def epoch_seconds(moment: datetime) -> int | float:
    """Seconds since 1970, to the millisecond; a whole number stays an int, as AWS prints it."""
    seconds = round(moment.timestamp(), 3)
    return int(seconds) if seconds == int(seconds) else seconds


def render(moment: datetime, style: str) -> str:
    """The text of a timestamp; raises KeyError for a format the models do not have."""
    return _RENDER[style](moment)


def _rfc822(moment: datetime) -> str:
    return format_datetime(moment.astimezone(UTC).replace(microsecond=0), usegmt=True)


def _unix(moment: datetime) -> str:
    return str(epoch_seconds(moment))


def _iso8601(moment: datetime) -> str:
    precision = "milliseconds" if moment.microsecond >= 1000 else "seconds"
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=precision) + "Z"


_RENDER = {"iso8601": _iso8601, "rfc822": _rfc822, "unixTimestamp": _unix}

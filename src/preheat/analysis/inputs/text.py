"""Bytes to text, whatever wrote them."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast

_GZIP = b"\x1f\x8b"


def read_bytes(path: Path) -> bytes:
    """The file's bytes, unpacked where it is gzip (CloudWatch's exports to S3 are)."""
    data = path.read_bytes()
    return gzip.decompress(data) if data.startswith(_GZIP) else data


def open_bytes(path: Path) -> BinaryIO:
    """The file opened to be read piece by piece, unpacked where it is gzip."""
    file = path.open("rb")
    if file.read(2) != _GZIP:
        file.seek(0)
        return file
    file.close()
    return cast("BinaryIO", gzip.open(path))


def decode(data: bytes) -> str:
    """Text with plain line feeds. UTF-8 with or without a mark, UTF-16 (PowerShell's `>`), GB18030 (response texts
    of Chinese Windows) where it fits, else Latin-1, which fits everything."""
    is_wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = data.decode("utf-16", errors="replace") if is_wide else _eight_bit(data)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _eight_bit(data: bytes) -> str:
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError as error:
            if encoding == "utf-8-sig" and error.start >= len(data) - 3:
                return data.decode(encoding, errors="replace")  # cut off within a character: an interrupted run
    return data.decode("latin-1")


def epoch_ms(text: str) -> float | None:
    """A time as CloudWatch writes it: epoch milliseconds (or seconds), ISO 8601, or `2025-11-09 03:14:16.849`.
    What names no zone is UTC, as in Logs Insights. None where it is no time."""
    text = text.strip()
    if "E+" in text:  # Excel has rounded it: 1.76380E+12
        return None
    try:
        number = float(text)
    except ValueError:
        return _iso_ms(text)
    if not 1e8 < number < 1e14:
        return None
    return number if number > 1e11 else number * 1000


def _iso_ms(text: str) -> float | None:
    if len(text) < 19 or not text[:4].isdigit():
        return None
    try:
        at = datetime.fromisoformat(text.replace(",", "."))
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000

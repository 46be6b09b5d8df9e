"""Why a file that somebody gave says nothing of a run, and what to do about it."""

from __future__ import annotations

import re

_NAMES = (
    (b"PK\x03\x04", "is an Excel workbook or a zip archive: export it as CSV, or unpack it"),
    (b"\xd0\xcf\x11\xe0", "is an Excel workbook: export it as CSV"),
    (b"%PDF", "is a PDF document"),
    (b"\x89PNG", "is a picture"),
)
_EXPORT = "export it as CSV in the console, or with `aws logs filter-log-events --output json`"
NO_REPORTS = "holds no REPORT line: the function did not run then, or the export left them out"
UNRELATED = "is no log of Locust's, none of its tables or reports, and no log of a function's"


def why_not(data: bytes, text: str) -> str:
    """The rest of a sentence that begins with the file's name; `text` are the bytes decoded."""
    for mark, reason in _NAMES:
        if data.startswith(mark):
            return reason
    if not text.strip():
        return "is empty"
    if "REPORT RequestId: " in text or '"platform.report"' in text:
        return f"holds REPORT lines, but in no form that preheat reads: {_EXPORT}"
    if re.search(r'(?:^|[,;\t"])(?:@\w+|bin\()', text.lstrip("\ufeff").split("\n", 1)[0]):
        return (
            "is a Logs Insights export without the lines themselves: query `fields @timestamp, @message, @logStream`, "
            "and export that"
        )
    return NO_REPORTS if re.search(r"(?:START|END) RequestId: |INIT_START Runtime", text) else UNRELATED

"""Where messages for queues, topics and buses go while there is no SQS, SNS or EventBridge here: to files."""

from __future__ import annotations

import errno
import json
import os
import re
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

MAX_FILE_BYTES = 268_435_456
"""256 MB: a fuller file becomes the older one. A queue of AWS forgets, too (by age: 14 days at most)."""

Attributes = Mapping[str, Mapping[str, str]]
"""MessageAttributes: each `{"DataType": ..., "StringValue": ...}` by its name."""


class QueueFiles:
    """`<data_dir>/queues/<service>/<name>.jsonl`, one message a line, appended whole.

    Of a queue the newest `max_file_bytes` at least are kept, twice as much at most: a full file becomes
    `<name>.jsonl.1`, in the place of the one before. Whoever has read a file may delete it at any time.
    """

    def __init__(self, data_dir: Path, max_file_bytes: int = MAX_FILE_BYTES) -> None:
        self._root = data_dir / "queues"
        self._max_file_bytes = max_file_bytes

    def path(self, arn: str) -> Path:
        """The file of one ARN, whatever characters it has."""
        service, name = arn.split(":")[2], re.sub(r"[^A-Za-z0-9_.-]", "_", arn.split(":", 5)[-1])
        return self._root / re.sub(r"[^a-z0-9-]", "_", service) / f"{name}.jsonl"

    def send(self, arn: str, body: bytes, attributes: Attributes | None = None) -> None:
        """Append one message, its members named as SQS's ReceiveMessage names them. Raises OSError."""
        message = {
            "MessageId": str(uuid.uuid4()),
            "TargetArn": arn,
            "SentTimestamp": int(time.time() * 1000),
            "Body": body.decode(),
            "MessageAttributes": attributes or {},
        }
        path = self.path(arn)
        path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        if path.exists() and path.stat().st_size + len(line) > self._max_file_bytes:
            path.replace(path.with_name(f"{path.name}.1"))
        _append(path, line)


def _append(path: Path, line: bytes) -> None:
    """All of it or nothing."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        before = os.fstat(descriptor).st_size
        if os.write(descriptor, line) != len(line):
            os.ftruncate(descriptor, before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(descriptor)

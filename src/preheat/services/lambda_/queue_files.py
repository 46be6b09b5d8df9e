"""Where messages for queues, topics and buses go while there is no SQS, SNS or EventBridge here: to files."""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from collections.abc import Mapping
from pathlib import Path


class QueueFiles:
    """`<data_dir>/queues/<service>/<name>.jsonl`, one message a line, appended whole; kept for ever."""

    def __init__(self, data_dir: Path) -> None:
        self._root = data_dir / "queues"

    def path(self, arn: str) -> Path:
        """The file of one ARN, whatever characters it has."""
        service, name = arn.split(":")[2], re.sub(r"[^A-Za-z0-9_.-]", "_", arn.split(":", 5)[-1])
        return self._root / re.sub(r"[^a-z0-9-]", "_", service) / f"{name}.jsonl"

    def send(self, arn: str, body: bytes, attributes: Mapping[str, str] | None = None) -> None:
        """Append one message, its members named as SQS's ReceiveMessage names them."""
        message = {
            "MessageId": str(uuid.uuid4()),
            "TargetArn": arn,
            "SentTimestamp": int(time.time() * 1000),
            "Body": body.decode(),
            "MessageAttributes": dict(attributes or {}),
        }
        path = self.path(arn)
        path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)

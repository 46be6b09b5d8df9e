"""Blobs on their way in: sessions that survive a lost connection and a killed server."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from preheat.kernel.http import HttpResponse
from preheat.oci.blobs import BlobStore, BlobWriter
from preheat.services.ecr.replies import failure

_ID = re.compile(r"[0-9a-f]{32}")
_OPEN_MAX = 256
"""Sessions with an open file; one more closes the oldest, whose next chunk opens it again."""


@dataclass(slots=True)
class Upload:
    """One session. `busy` while a request is writing: a second one at the same time is refused."""

    id: str
    repository: str
    writer: BlobWriter
    busy: bool = False


class Uploads:
    """Sessions by repository and id. What a chunk's 202 has acknowledged is on file: a session of an earlier
    process is found again and its digest computed from the file."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._sessions: dict[str, Upload] = {}

    def create(self, repository: str) -> Upload:
        return self._opened(repository, uuid.uuid4().hex)

    def find(self, repository: str, upload_id: str) -> Upload | None:
        """None for an unknown session, or one of another repository."""
        if not _ID.fullmatch(upload_id):
            return None
        name = _name(repository, upload_id)
        session = self._sessions.get(name)
        if not (self._blobs.work_dir / name).exists():  # unknown, or given up long ago and collected
            if session is not None:
                session.writer.close()
                self.finish(session)
            return None
        return session or self._opened(repository, upload_id)

    def finish(self, upload: Upload) -> None:
        """The session is over; its writer has been committed or aborted."""
        self._sessions.pop(_name(upload.repository, upload.id), None)

    def close(self) -> None:
        """Keep the files, close them."""
        while self._sessions:
            self._sessions.popitem()[1].writer.close()

    def _opened(self, repository: str, upload_id: str) -> Upload:
        idle = [session for session in self._sessions.values() if not session.busy]
        if len(self._sessions) >= _OPEN_MAX and idle:
            idle[0].writer.close()
            self.finish(idle[0])
        name = _name(repository, upload_id)
        self._sessions[name] = upload = Upload(upload_id, repository, self._blobs.writer(name))
        return upload


class UploadSink:
    """Takes one request's body into a session. After a problem the rest is read and dropped, so that the
    client, which sends before it listens, gets to hear of it."""

    def __init__(
        self, upload: Upload | None, refusal: HttpResponse | None, discard: Callable[[Upload], None] | None = None
    ) -> None:
        """`discard`: what to do with a session that nobody knows of when the connection is lost."""
        self.upload = upload
        self.refusal = refusal
        self.start = upload.writer.mark() if upload is not None else None
        self._discard = discard
        if upload is not None:
            upload.busy = True

    def write(self, data: bytes) -> None:
        if self.refusal is not None or self.upload is None:
            return
        try:
            self.upload.writer.write(data)
        except OSError as error:
            self.refusal = failure(500, "UNKNOWN", f"the registry cannot store this: {error.strerror}")

    def abort(self) -> None:
        """The connection is lost: what has come is kept and can be continued from."""
        self.done()
        if self.upload is not None and self._discard is not None:
            self._discard(self.upload)

    def done(self) -> None:
        """The request is answered: the session may take the next one."""
        if self.upload is not None:
            self.upload.busy = False


def _name(repository: str, upload_id: str) -> str:
    """A file's name that binds the session to its repository; repository names have no "+"."""
    return f"upload-{repository.replace('/', '+')}-{upload_id}"[-250:]

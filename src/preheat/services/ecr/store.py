"""Repositories, images, tags and who relies on which blob, in SQLite (`ecr.db`). Blobs themselves are files."""

from __future__ import annotations

import secrets
import sqlite3
from pathlib import Path

import msgspec

from preheat.kernel.database import connect, transaction
from preheat.oci.manifest import Manifest
from preheat.services.ecr.models import Image, Repository

_MIGRATIONS = (
    """
    CREATE TABLE repositories (name TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT;
    CREATE TABLE manifests (digest TEXT PRIMARY KEY, media_type TEXT NOT NULL, body BLOB NOT NULL) STRICT;
    CREATE TABLE manifest_blobs (
        manifest TEXT NOT NULL REFERENCES manifests ON DELETE CASCADE, digest TEXT NOT NULL,
        PRIMARY KEY (manifest, digest)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE manifest_children (
        manifest TEXT NOT NULL REFERENCES manifests ON DELETE CASCADE, digest TEXT NOT NULL,
        PRIMARY KEY (manifest, digest)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE images (
        repository TEXT NOT NULL REFERENCES repositories ON DELETE CASCADE,
        digest TEXT NOT NULL REFERENCES manifests,
        media_type TEXT NOT NULL, artifact_type TEXT NOT NULL, size_bytes INTEGER NOT NULL,
        pushed_s REAL NOT NULL, pulled_s REAL, subject TEXT,
        PRIMARY KEY (repository, digest)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX images_by_digest ON images (digest);
    CREATE TABLE tags (
        repository TEXT NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL,
        PRIMARY KEY (repository, tag),
        FOREIGN KEY (repository, digest) REFERENCES images ON DELETE CASCADE
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX tags_by_image ON tags (repository, digest);
    CREATE TABLE links (
        repository TEXT NOT NULL REFERENCES repositories ON DELETE CASCADE,
        digest TEXT NOT NULL, touched_s REAL NOT NULL, used INTEGER NOT NULL,
        PRIMARY KEY (repository, digest)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX links_by_digest ON links (digest);
    CREATE TABLE pins (holder TEXT PRIMARY KEY, digest TEXT NOT NULL REFERENCES manifests) STRICT;
    CREATE TABLE secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT
    """,
)
_IMAGE = """
    SELECT i.*, (SELECT group_concat(tag, char(10)) FROM tags t WHERE t.repository = i.repository
    AND t.digest = i.digest) AS tags FROM images i
"""


class EcrStore:
    """What a method has returned from survives `kill -9`. `links` say that a repository has a blob."""

    def __init__(self, path: Path) -> None:
        self._db = connect(path, _MIGRATIONS)
        self.close = self._db.close

    def secret(self) -> bytes:
        """The key that authorization tokens are signed with, made once."""
        statement = "INSERT OR IGNORE INTO secrets VALUES ('token', ?)"
        self._db.execute(statement, (secrets.token_bytes(32),))
        (value,) = self._db.execute("SELECT value FROM secrets WHERE name = 'token'").fetchone()
        return bytes(value)

    # repositories

    def repository(self, name: str) -> Repository | None:
        row = self._db.execute("SELECT document FROM repositories WHERE name = ?", (name,)).fetchone()
        return None if row is None else msgspec.json.decode(row["document"], type=Repository)

    def repositories(self, after: str, count: int) -> list[Repository]:
        """In order of name, those after one."""
        statement = "SELECT document FROM repositories WHERE name > ? ORDER BY name LIMIT ?"
        return [
            msgspec.json.decode(row["document"], type=Repository) for row in self._db.execute(statement, (after, count))
        ]

    def put_repository(self, repository: Repository) -> None:
        statement = "INSERT INTO repositories VALUES (?, ?) ON CONFLICT DO UPDATE SET document = excluded.document"
        self._db.execute(statement, (repository.name, msgspec.json.encode(repository).decode()))

    def delete_repository(self, name: str) -> None:
        """With its images and tags."""
        self._db.execute("DELETE FROM repositories WHERE name = ?", (name,))

    # images

    def image(self, repository: str, digest: str) -> Image | None:
        row = self._db.execute(_IMAGE + "WHERE i.repository = ? AND i.digest = ?", (repository, digest)).fetchone()
        return None if row is None else _image(row)

    def images(self, repository: str, after: str = "", count: int = -1) -> list[Image]:
        """In order of digest, those after one; all without `count`."""
        statement = _IMAGE + "WHERE i.repository = ? AND i.digest > ? ORDER BY i.digest LIMIT ?"
        return [_image(row) for row in self._db.execute(statement, (repository, after, count))]

    def tagged(self, repository: str, tag: str) -> str | None:
        """The digest a tag means."""
        row = self._db.execute("SELECT digest FROM tags WHERE repository = ? AND tag = ?", (repository, tag)).fetchone()
        return None if row is None else row["digest"]

    def tags(self, repository: str, after: str = "", count: int = -1) -> list[str]:
        """In byte order, those after one."""
        statement = "SELECT tag FROM tags WHERE repository = ? AND tag > ? ORDER BY tag LIMIT ?"
        return [row["tag"] for row in self._db.execute(statement, (repository, after, count))]

    def put_image(self, image: Image, manifest: Manifest, body: bytes, tag: str | None) -> None:
        """Image, what it needs and its tag appear together; an image that is there already keeps its date."""
        run = self._db.execute
        with transaction(self._db):
            run("INSERT OR IGNORE INTO manifests VALUES (?, ?, ?)", (image.digest, image.media_type, body))
            for blob in manifest.blobs():
                run("INSERT OR IGNORE INTO manifest_blobs VALUES (?, ?)", (image.digest, blob.digest))
                where = "WHERE repository = ? AND digest = ?"
                run(f"UPDATE links SET used = 1 {where}", (image.repository, blob.digest))
            for child in manifest.manifests:
                run("INSERT OR IGNORE INTO manifest_children VALUES (?, ?)", (image.digest, child.digest))
            run(
                "INSERT OR IGNORE INTO images VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    image.repository,
                    image.digest,
                    image.media_type,
                    image.artifact_type,
                    image.size_bytes,
                    image.pushed_s,
                    image.pulled_s,
                    image.subject,
                ),
            )
            if tag is not None:
                run("INSERT OR REPLACE INTO tags VALUES (?, ?, ?)", (image.repository, tag, image.digest))

    def delete_image(self, repository: str, digest: str) -> None:
        self._db.execute("DELETE FROM images WHERE repository = ? AND digest = ?", (repository, digest))

    def delete_tag(self, repository: str, tag: str) -> None:
        self._db.execute("DELETE FROM tags WHERE repository = ? AND tag = ?", (repository, tag))

    def note_pull(self, repository: str, digest: str, at_s: float) -> None:
        where = "WHERE repository = ? AND digest = ?"
        self._db.execute(f"UPDATE images SET pulled_s = ? {where}", (at_s, repository, digest))

    def parents(self, repository: str, digest: str) -> list[str]:
        """Digests of the repository's indexes that name an image."""
        statement = (
            "SELECT i.digest FROM manifest_children c JOIN images i ON i.digest = c.manifest "
            "WHERE c.digest = ? AND i.repository = ? ORDER BY i.digest"
        )
        return [row["digest"] for row in self._db.execute(statement, (digest, repository))]

    def referrers(self, repository: str, digest: str) -> list[Image]:
        statement = _IMAGE + "WHERE i.repository = ? AND i.subject = ? ORDER BY i.digest"
        return [_image(row) for row in self._db.execute(statement, (repository, digest))]

    def manifest(self, digest: str) -> tuple[str, bytes] | None:
        """(media type, body) of any manifest kept, whichever repository it is in."""
        row = self._db.execute("SELECT media_type, body FROM manifests WHERE digest = ?", (digest,)).fetchone()
        return None if row is None else (row["media_type"], row["body"])

    # blobs

    def link(self, repository: str, digest: str, at_s: float) -> None:
        """The repository has the blob, and somebody relies on it from now on."""
        statement = "INSERT OR REPLACE INTO links VALUES (?, ?, ?, 0)"
        self._db.execute(statement, (repository, digest, at_s))

    def linked(self, repository: str, digest: str) -> bool:
        statement = "SELECT 1 FROM links WHERE repository = ? AND digest = ?"
        return self._db.execute(statement, (repository, digest)).fetchone() is not None

    def unlink(self, repository: str, digest: str) -> None:
        self._db.execute("DELETE FROM links WHERE repository = ? AND digest = ?", (repository, digest))

    def release(self, older_than_s: float) -> None:
        """Forget manifests that nobody has, and links that no image of their repository needs.

        A link that no image has used yet belongs to a push under way: it stays until `older_than_s`.
        """
        with transaction(self._db):
            self._db.execute(
                "DELETE FROM manifests WHERE digest NOT IN (SELECT digest FROM images UNION SELECT digest FROM pins)"
            )
            self._db.execute(
                "DELETE FROM links WHERE (used = 1 OR touched_s < ?) AND NOT EXISTS (SELECT 1 FROM images i "
                "JOIN manifest_blobs b ON b.manifest = i.digest "
                "WHERE i.repository = links.repository AND b.digest = links.digest)",
                (older_than_s,),
            )

    def needed(self) -> set[str]:
        """Digests of all blobs that a repository has or an image kept needs."""
        rows = self._db.execute("SELECT digest FROM links UNION SELECT digest FROM manifest_blobs")
        return {row["digest"] for row in rows}

    def users(self, repository: str, digest: str) -> list[str]:
        """Digests of the repository's images that need a blob."""
        statement = (
            "SELECT i.digest FROM manifest_blobs b JOIN images i ON i.digest = b.manifest "
            "WHERE b.digest = ? AND i.repository = ? ORDER BY i.digest"
        )
        return [row["digest"] for row in self._db.execute(statement, (digest, repository))]

    # pins

    def pin(self, holder: str, digest: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO pins VALUES (?, ?)", (holder, digest))

    def pin_of(self, holder: str) -> str | None:
        """The digest of the image that a holder has pinned."""
        row = self._db.execute("SELECT digest FROM pins WHERE holder = ?", (holder,)).fetchone()
        return None if row is None else row["digest"]

    def unpin(self, holder: str) -> None:
        self._db.execute("DELETE FROM pins WHERE holder = ?", (holder,))

    def pinned(self) -> list[str]:
        return [row["digest"] for row in self._db.execute("SELECT DISTINCT digest FROM pins")]


def _image(row: sqlite3.Row) -> Image:
    value = dict(zip(row.keys(), row, strict=True))
    value["tags"] = tuple(sorted(value["tags"].split("\n"))) if value["tags"] else ()
    return Image(**value)

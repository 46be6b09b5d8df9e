"""The registry against the OCI distribution specification: every case of its conformance suite (pull, push, content
discovery, content management; github.com/opencontainers/distribution-spec, conformance/), a step each, on the wire; and
`oras` as a client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from e2e_cloud import Cloud
from registry_tools import Reply, Wire, digest, host, password, with_query

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
EMPTY = "application/vnd.oci.empty.v1+json"
CHUNKS = [b"first chunk, ", b"second chunk"]
WHOLE = b"".join(CHUNKS)
NOBODY = digest(b"in no registry")
OCTETS = "application/octet-stream"


class Repository:
    """One repository on the wire, by paths below it."""

    def __init__(self, wire: Wire, name: str) -> None:
        self._wire = wire
        self.name = name

    def send(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        url = path if path.startswith(("/v2/", "http://")) else f"/v2/{self.name}/{path}"
        return self._wire.send(method, url, body, **headers)

    def upload(self) -> str:
        """The address of a new upload."""
        reply = self.send("POST", "blobs/uploads/", content_length="0")
        assert reply.status == 202
        return reply.headers["location"]

    def blob(self, content: bytes) -> dict[str, Any]:
        """Push a blob; returns its descriptor, as a layer."""
        done = self.send("PUT", with_query(self.upload(), f"digest={digest(content)}"), content, content_type=OCTETS)
        assert done.status == 201
        return {"mediaType": LAYER, "digest": digest(content), "size": len(content)}

    def manifest(self, reference: str = "", *, kind: str = MANIFEST, **members: Any) -> tuple[bytes, Reply]:
        """Push an image's manifest, or with `manifests` an index; by its own digest where no tag is given."""
        if kind == MANIFEST:
            members = {"config": {**self.blob(b"{}"), "mediaType": CONFIG}, "layers": [self.blob(WHOLE)], **members}
        body = json.dumps({"schemaVersion": 2, "mediaType": kind, **members}).encode()
        return body, self.send("PUT", f"manifests/{reference or digest(body)}", body, content_type=kind)

    def tags(self, query: str = "") -> list[str]:
        reply = self.send("GET", f"tags/list{query}")
        assert reply.status == 200
        tags: list[str] = json.loads(reply.body)["tags"]
        return tags

    def referrers(self, name: str, query: str = "") -> tuple[list[dict[str, Any]], Reply]:
        reply = self.send("GET", f"referrers/{name}{query}")
        assert (reply.status, reply.headers["content-type"]) == (200, INDEX)
        index = json.loads(reply.body)
        assert (index["schemaVersion"], index["mediaType"]) == (2, INDEX)
        return index["manifests"], reply


@pytest.fixture
def login(cloud: Cloud) -> str:
    return password(cloud)


@pytest.fixture
def repository(cloud: Cloud, login: str, request: pytest.FixtureRequest) -> Repository:
    name = request.node.name.replace("test_", "").replace("_", "-")
    cloud.aws("ecr", "create-repository", "--repository-name", name)
    return Repository(Wire(host(cloud), f"AWS:{login}"), name)


def test_pull(repository: Repository) -> None:
    body, pushed = repository.manifest("v1")
    assert pushed.status == 201
    send, name = repository.send, digest(body)
    assert send("GET", "/v2/").status == 200
    assert send("HEAD", f"blobs/{NOBODY}").status == send("GET", f"blobs/{NOBODY}").status == 404
    for reply in (send("HEAD", f"blobs/{digest(WHOLE)}"), send("GET", f"blobs/{digest(WHOLE)}")):
        assert (reply.status, reply.headers["docker-content-digest"]) == (200, digest(WHOLE))
        assert reply.headers["content-length"] == str(len(WHOLE))
    assert send("GET", f"blobs/{digest(WHOLE)}").body == WHOLE
    part = send("GET", f"blobs/{digest(WHOLE)}", range=f"bytes={len(CHUNKS[0])}-")
    assert (part.status, part.body) == (206, CHUNKS[1])
    for missing in ("no-such-tag", NOBODY):
        assert send("HEAD", f"manifests/{missing}").status == send("GET", f"manifests/{missing}").status == 404
    for reference in ("v1", name):
        head, got = (send(method, f"manifests/{reference}", accept=MANIFEST) for method in ("HEAD", "GET"))
        assert (head.status, got.status, got.body) == (200, 200, body)
        for reply in (head, got):
            assert (reply.headers["docker-content-digest"], reply.headers["content-type"]) == (name, MANIFEST)
            assert reply.headers["content-length"] == str(len(body))
    wrong = send("PUT", "manifests/sha256:totallywrong", b"{}", content_type=MANIFEST)
    assert wrong.status == 400
    (error,) = json.loads(wrong.body)["errors"]
    assert error["code"] in ("DIGEST_INVALID", "MANIFEST_INVALID", "NAME_INVALID", "TAG_INVALID")
    assert isinstance(error["message"], str)


def test_push_whole(repository: Repository) -> None:
    send, name = repository.send, digest(WHOLE)
    streamed = send("PATCH", repository.upload(), WHOLE, content_type=OCTETS)
    assert streamed.status == 202
    done = send("PUT", with_query(streamed.headers["location"], f"digest={name}"), content_length="0")
    assert (done.status, send("GET", done.headers["location"]).body) == (201, WHOLE)
    at_once = send("POST", f"blobs/uploads/?digest={digest(b'one')}", b"one", content_type=OCTETS)
    assert (at_once.status, send("GET", at_once.headers["location"]).body) == (201, b"one")
    put = send("PUT", with_query(repository.upload(), f"digest={digest(b'two')}"), b"two", content_type=OCTETS)
    assert (put.status, send("GET", put.headers["location"]).body) == (201, b"two")


def test_push_in_chunks(repository: Repository) -> None:
    send, cut = repository.send, len(CHUNKS[0])
    ranges = [f"0-{cut - 1}", f"{cut}-{len(WHOLE) - 1}"]
    early = send("PATCH", repository.upload(), CHUNKS[1], content_range=ranges[1], content_type=OCTETS)
    assert early.status == 416
    first = send("PATCH", repository.upload(), CHUNKS[0], content_range=ranges[0], content_type=OCTETS)
    assert (first.status, first.headers["range"]) == (202, ranges[0])
    where = first.headers["location"]
    again = send("PATCH", where, CHUNKS[0], content_range=ranges[0], content_type=OCTETS)
    assert again.status == 416
    stale = send("GET", where)
    assert (stale.status, stale.headers["range"]) == (204, ranges[0])
    second = send("PATCH", stale.headers["location"], CHUNKS[1], content_range=ranges[1], content_type=OCTETS)
    assert (second.status, second.headers["range"]) == (202, f"0-{len(WHOLE) - 1}")
    done = send("PUT", with_query(second.headers["location"], f"digest={digest(WHOLE)}"), content_length="0")
    assert (done.status, send("GET", done.headers["location"]).body) == (201, WHOLE)
    first = send("PATCH", repository.upload(), CHUNKS[0], content_range=ranges[0], content_type=OCTETS)
    last = with_query(first.headers["location"], f"digest={digest(WHOLE)}")
    assert send("PUT", last, CHUNKS[1], content_range=ranges[1], content_type=OCTETS).status == 201
    cancelled = repository.upload()
    assert send("DELETE", cancelled).status == 204
    assert send("GET", cancelled).status == 404


def test_push_mounted(repository: Repository, cloud: Cloud, login: str) -> None:
    cloud.aws("ecr", "create-repository", "--repository-name", "mount-source")
    Repository(Wire(host(cloud), f"AWS:{login}"), "mount-source").blob(b"only there")
    send, name = repository.send, digest(b"only there")
    nowhere = send("POST", f"blobs/uploads/?mount={NOBODY}&from=mount-source", content_length="0")
    assert (nowhere.status, "location" in nowhere.headers) == (202, True)
    unknown = send("POST", f"blobs/uploads/?mount={name}&from=no-such-repository", content_length="0")
    assert unknown.status == 202
    mounted = send("POST", f"blobs/uploads/?mount={name}&from=mount-source", content_length="0")
    assert (mounted.status, mounted.headers["location"]) == (201, f"/v2/{repository.name}/blobs/{name}")
    assert send("GET", mounted.headers["location"]).body == b"only there"
    assert send("POST", f"blobs/uploads/?mount={digest(b'x')}", content_length="0").status == 202


def test_push_manifests(repository: Repository) -> None:
    assert repository.send("GET", "manifests/never-pushed").status == 404
    for number in range(4):
        body, pushed = repository.manifest(f"test{number}")
        assert (pushed.status, pushed.headers["docker-content-digest"]) == (201, digest(body))
        assert repository.send("GET", pushed.headers["location"], accept=MANIFEST).body == body
    assert repository.send("GET", f"manifests/{digest(body)}", accept=MANIFEST).status == 200
    empty, pushed = repository.manifest("no-layers", layers=[])
    assert (pushed.status, repository.send("GET", "manifests/no-layers").body) == (201, empty)
    index, pushed = repository.manifest(
        "index", kind=INDEX, manifests=[{"mediaType": MANIFEST, "digest": digest(body), "size": len(body)}]
    )
    assert (pushed.status, repository.send("GET", "manifests/index", accept=INDEX).body) == (201, index)


def test_content_discovery_of_tags(repository: Repository) -> None:
    tags = sorted(f"test{number}" for number in range(4))
    for tag in tags:
        repository.manifest(tag)
    assert repository.tags() == tags
    assert repository.tags("?n=2") == tags[:2]
    assert repository.tags(f"?n=2&last={tags[1]}") == tags[2:]
    assert repository.tags(f"?last={tags[0]}") == tags[1:]
    following = repository.send("GET", "tags/list?n=3").headers["link"]
    assert following.endswith('; rel="next"')
    assert repository.tags(following.partition(">")[0].partition("tags/list")[2]) == tags[3:]


def test_content_discovery_of_referrers(repository: Repository) -> None:
    subject = {"mediaType": MANIFEST, "digest": digest(b"not pushed yet"), "size": 14}
    none, _ = repository.referrers(NOBODY)
    assert none == []
    _, before = repository.manifest(subject=subject, artifactType="x/y")
    assert (before.status, before.headers["oci-subject"]) == (201, subject["digest"])
    assert len(repository.referrers(subject["digest"])[0]) == 1  # of a manifest that is not there

    body, _ = repository.manifest("subject")
    subject = {"mediaType": MANIFEST, "digest": digest(body), "size": len(body)}
    by_type: dict[str, set[str]] = {"type/a": set(), "type/b": set()}
    for letter, kind in (("a", "type/a"), ("b", "type/b")):
        note = {"annotations": {"test/annotation": letter}, "subject": subject}
        config = {**repository.blob(b"{}"), "mediaType": kind}
        for members in (
            {"config": config},  # the type of its configuration stands for its own
            {"config": {**config, "mediaType": EMPTY}, "artifactType": kind},
        ):
            pushed_body, pushed = repository.manifest(**note, **members)
            assert pushed.headers["oci-subject"] == subject["digest"]
            by_type[kind].add(digest(pushed_body))
    index_body, pushed = repository.manifest(
        kind=INDEX, manifests=[], subject=subject, artifactType="type/a", annotations={"test/annotation": "a"}
    )
    assert (pushed.status, pushed.headers["oci-subject"]) == (201, subject["digest"])
    by_type["type/a"].add(digest(index_body))

    found, _ = repository.referrers(subject["digest"])
    assert {one["digest"] for one in found} == by_type["type/a"] | by_type["type/b"]
    assert {(one["artifactType"], one["annotations"]["test/annotation"]) for one in found} == {
        ("type/a", "a"),
        ("type/b", "b"),
    }
    for kind, names in by_type.items():
        chosen, reply = repository.referrers(subject["digest"], f"?artifactType={kind}")
        assert reply.headers["oci-filters-applied"] == "artifactType"
        assert {one["digest"] for one in chosen} == names
    assert repository.send("DELETE", f"manifests/{digest(index_body)}").status == 202
    assert digest(index_body) not in {one["digest"] for one in repository.referrers(subject["digest"])[0]}


def test_content_management(repository: Repository) -> None:
    body, _ = repository.manifest("tagtest0")
    repository.manifest("other")
    send = repository.send
    assert send("DELETE", "manifests/tagtest0").status == 202
    assert send("GET", "manifests/tagtest0").status == 404
    assert repository.tags() == ["other"]
    assert send("DELETE", f"manifests/{digest(body)}").status == 202
    assert send("GET", f"manifests/{digest(body)}").status == send("DELETE", f"manifests/{digest(body)}").status == 404
    assert repository.tags() == []
    repository.blob(b"to go")
    assert send("DELETE", f"blobs/{digest(b'to go')}").status == 202
    assert send("GET", f"blobs/{digest(b'to go')}").status == 404


def test_oras_pushes_and_pulls_artifacts(
    cloud: Cloud, login: str, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import oras.client

    monkeypatch.setenv("NO_PROXY", "*")
    client = oras.client.OrasClient(hostname=host(cloud), insecure=True, auth_backend="basic")
    client.auth.set_basic_auth("AWS", login)
    (tmp_path / "model.bin").write_bytes(bytes(range(256)) * 5000)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/card.md").write_text("# a model\n")
    target = f"{host(cloud)}/{repository.name}:v1"
    monkeypatch.chdir(tmp_path)
    pushed = client.push(
        target=target, files=["model.bin:application/x-model", "notes"], manifest_annotations={"by": "ann"}
    )
    assert pushed.status_code == 201
    manifest = json.loads(repository.send("GET", "manifests/v1").body)
    assert manifest["layers"][0]["mediaType"] == "application/x-model"
    assert manifest["annotations"]["by"] == "ann"
    assert client.get_tags(target) == ["v1"]
    pulled = client.pull(target=target, outdir=str(tmp_path / "back"))
    assert len(pulled) == 2
    assert (tmp_path / "back/model.bin").read_bytes() == (tmp_path / "model.bin").read_bytes()
    assert (tmp_path / "back/notes/card.md").read_text() == "# a model\n"
    # an artifact is no image, which Lambda says
    uri = f"ImageUri={target}"
    facts = ["--function-name", "artifact", "--role", "arn:aws:iam::000000000000:role/LabRole"]
    refused = cloud.aws_raw("lambda", "create-function", *facts, "--package-type", "Image", "--code", uri)
    assert "media type for the source image" in refused.stderr

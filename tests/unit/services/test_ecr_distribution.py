"""The distribution API: push, pull, content discovery and management, as the specification's conformance asks,
and ECR's own answers (fidelity sheet, "ECR and the OCI registry"; fault 13)."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from ecr_support import CONFIG, INDEX, MANIFEST, Bench, digest

from preheat.oci.blobs import BlobWriter
from preheat.services.ecr import tokens
from preheat.services.ecr.registry import GRACE_S

DATA = bytes(range(256)) * 10
NAME = digest(DATA)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def basic(password: str, user: str = "AWS") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


# authorization


def test_who_has_no_token_is_challenged_as_by_ecr(bench: Bench) -> None:
    reply = bench.send("GET", "/v2/", authorization="")
    assert reply.status == 401
    assert reply.headers["www-authenticate"] == 'Basic realm="https://127.0.0.1:4566/",service="ecr.amazonaws.com"'
    assert reply.headers["docker-distribution-api-version"] == "registry/2.0"
    assert bench.send("GET", "/v2/").status == bench.send("GET", "/v2").status == 200


def test_only_our_tokens_open_and_only_for_twelve_hours(bench: Bench) -> None:
    forged = tokens.issue(b"another secret", 2_000_000_000)
    bad = ["", forged, bench.password[:-4], bench.password + "A", "x", "AAAA", "ü"]
    for header in [*map(basic, bad), basic(bench.password, "root"), "Basic ???", "Bearer x", "Basic"]:
        for method, url in [("GET", "/v2/"), ("POST", "/v2/app/blobs/uploads/"), ("GET", "/v2/app/tags/list")]:
            assert bench.send(method, url, authorization=header).status == 401
    bench.now_s += tokens.LIFETIME_S + 1
    for method, url in [("GET", "/v2/"), ("POST", "/v2/app/blobs/uploads/")]:
        expired = bench.send(method, url)
        assert (expired.status, expired.code) == (403, "DENIED")
        assert "expired" in expired.json()["errors"][0]["message"]


def test_a_token_outlives_the_server(bench: Bench) -> None:
    bench.restart()
    assert bench.send("GET", "/v2/").status == 200


# push


def test_a_blob_is_pushed_whole(bench: Bench) -> None:
    started = bench.send("POST", "/v2/app/blobs/uploads/")
    assert (started.status, started.headers["range"]) == (202, "0-0")
    assert started.headers["docker-upload-uuid"]
    done = bench.send("PUT", f"{started.headers['location']}?digest={NAME}", DATA)
    assert (done.status, done.headers["location"]) == (201, f"/v2/app/blobs/{NAME}")
    assert done.headers["docker-content-digest"] == NAME
    assert bench.send("GET", done.headers["location"]).body == DATA
    assert bench.send("GET", started.headers["location"]).code == "BLOB_UPLOAD_UNKNOWN"


def test_a_blob_is_pushed_in_one_request(bench: Bench) -> None:
    assert bench.push_blob(DATA) == NAME
    assert bench.send("GET", f"/v2/app/blobs/{NAME}").body == DATA


def test_a_blob_is_pushed_in_chunks_and_resumed_after_a_kill(bench: Bench) -> None:
    where = bench.send("POST", "/v2/app/blobs/uploads/").headers["location"]
    first = bench.send("PATCH", where, DATA[:1000], content_range="0-999")
    assert (first.status, first.headers["range"], first.headers["location"]) == (202, "0-999", where)
    bench.restart()
    status = bench.send("GET", where)
    assert (status.status, status.headers["range"]) == (204, "0-999")
    assert bench.send("PATCH", where, DATA[1000:1500]).headers["range"] == "0-1499"
    done = bench.send("PUT", f"{where}?digest={NAME}", DATA[1500:], content_range=f"1500-{len(DATA) - 1}")
    assert done.status == 201
    assert bench.send("GET", f"/v2/app/blobs/{NAME}").body == DATA


@pytest.mark.parametrize("start", [0, 999, 1001])
def test_a_chunk_out_of_order_is_refused_and_the_upload_goes_on(bench: Bench, start: int) -> None:
    where = bench.send("POST", "/v2/app/blobs/uploads/").headers["location"]
    bench.send("PATCH", where, DATA[:1000], content_range="0-999")
    refused = bench.send("PATCH", where, DATA[:100], content_range=f"{start}-{start + 99}")
    assert (refused.status, refused.headers["range"], refused.headers["location"]) == (416, "0-999", where)
    assert bench.send("PUT", f"{where}?digest={NAME}", DATA[1000:]).status == 201


def test_a_chunk_of_another_length_than_it_says_is_taken_back(bench: Bench) -> None:
    where = bench.send("POST", "/v2/app/blobs/uploads/").headers["location"]
    assert bench.send("PATCH", where, DATA[:50], content_range="0-99").code == "SIZE_INVALID"
    assert bench.send("PATCH", where, DATA[:50], content_range="nonsense").code == "BLOB_UPLOAD_INVALID"
    assert bench.send("PUT", f"{where}?digest={NAME}", DATA).status == 201


def test_a_lost_connection_keeps_what_has_come(bench: Bench) -> None:
    where = bench.send("POST", "/v2/app/blobs/uploads/").headers["location"]
    sink = bench.distribution.stream(bench.request("PATCH", where))
    assert sink is not None
    sink.write(DATA[:500])
    busy = bench.send("PATCH", where, b"from another connection")
    assert (busy.status, busy.code) == (409, "BLOB_UPLOAD_INVALID")
    sink.abort()
    assert bench.send("GET", where).headers["range"] == "0-499"
    assert bench.send("PUT", f"{where}?digest={NAME}", DATA[500:]).status == 201


def test_a_lost_connection_of_a_push_in_one_request_leaves_nothing(bench: Bench) -> None:
    sink = bench.distribution.stream(bench.request("POST", f"/v2/app/blobs/uploads/?digest={NAME}"))
    assert sink is not None
    sink.write(DATA[:500])
    sink.abort()
    assert list(bench.registry.blobs.work_dir.iterdir()) == []


@pytest.mark.parametrize("bad", ["", digest(b"other"), "sha256:xyz", "sha512:" + "0" * 128])
def test_content_that_is_not_its_digest_is_refused(bench: Bench, bad: str) -> None:
    where = bench.send("POST", "/v2/app/blobs/uploads/").headers["location"]
    reply = bench.send("PUT", f"{where}?digest={bad}", DATA)
    assert (reply.status, reply.code) == (400, "DIGEST_INVALID")
    assert bench.blobs() == set()
    assert bench.send("GET", where).status == 404


def test_an_upload_can_be_cancelled(bench: Bench) -> None:
    where = bench.send("POST", "/v2/app/blobs/uploads/").headers["location"]
    bench.send("PATCH", where, DATA)
    assert bench.send("DELETE", where).status == 204
    assert bench.send("DELETE", where).code == "BLOB_UPLOAD_UNKNOWN"
    assert list(bench.registry.blobs.work_dir.iterdir()) == []


def test_a_session_belongs_to_its_repository(bench: Bench) -> None:
    where = bench.send("POST", "/v2/app/blobs/uploads/").headers["location"].replace("/app/", "/other/")
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        assert bench.send(method, where, b"x").code == "BLOB_UPLOAD_UNKNOWN"
    assert bench.send("PATCH", "/v2/app/blobs/uploads/..%2f..%2fecr.db", b"x").status == 404


def test_blobs_are_mounted_from_another_repository(bench: Bench) -> None:
    bench.push_blob(DATA, "other")
    assert bench.send("HEAD", f"/v2/app/blobs/{NAME}").status == 404
    mounted = bench.send("POST", f"/v2/app/blobs/uploads/?mount={NAME}&from=other")
    assert (mounted.status, mounted.headers["location"]) == (201, f"/v2/app/blobs/{NAME}")
    assert bench.send("GET", f"/v2/app/blobs/{NAME}").body == DATA
    for query in (f"mount={digest(b'none')}&from=other", f"mount={NAME}&from=missing", "mount=x&from=other"):
        upload = bench.send("POST", f"/v2/app/blobs/uploads/?{query}")
        assert upload.status == 202
        assert bench.send("PUT", f"{upload.headers['location']}?digest={NAME}", DATA).status == 201


def test_a_repository_that_does_not_exist_is_ecrs_error(bench: Bench) -> None:
    calls = [("POST", "/v2/missing/blobs/uploads/"), ("GET", "/v2/missing/tags/list")]
    for method, url in [*calls, ("PUT", "/v2/missing/manifests/a")]:
        reply = bench.send(method, url, b"x")
        assert (reply.status, reply.code) == (404, "NAME_UNKNOWN")
        message = "The repository with name 'missing' does not exist in the registry with id '000000000000'"
        assert reply.json()["errors"][0]["message"] == message
    assert bench.send("GET", "/v2/Bad/tags/list").code == "NAME_INVALID"


def test_manifests_are_pushed_by_tag_and_by_digest(bench: Bench) -> None:
    body = bench.image("one")
    by_tag = bench.send("PUT", "/v2/app/manifests/v1", body, content_type=MANIFEST)
    assert (by_tag.status, by_tag.headers["docker-content-digest"]) == (201, digest(body))
    assert by_tag.headers["location"] == f"/v2/app/manifests/{digest(body)}"
    assert bench.send("PUT", f"/v2/app/manifests/{digest(body)}", body, content_type=MANIFEST).status == 201
    wrong = bench.send("PUT", f"/v2/app/manifests/{digest(b'x')}", body, content_type=MANIFEST)
    assert (wrong.status, wrong.code) == (400, "DIGEST_INVALID")
    for reference in ("v1", digest(body)):
        got = bench.send("GET", f"/v2/app/manifests/{reference}")
        assert (got.body, got.headers["content-type"]) == (body, MANIFEST)
        assert bench.send("HEAD", f"/v2/app/manifests/{reference}").headers["docker-content-digest"] == digest(body)


def test_a_manifest_needs_its_blobs_in_its_own_repository(bench: Bench) -> None:
    body = bench.image("one", "other")
    reply = bench.send("PUT", "/v2/app/manifests/v1", body, content_type=MANIFEST)
    assert (reply.status, reply.code) == (400, "MANIFEST_BLOB_UNKNOWN")
    assert bench.send("GET", "/v2/app/manifests/v1").code == "MANIFEST_UNKNOWN"
    missing = bench.push_index([digest(b"no such image")])
    assert (missing.status, missing.code) == (400, "MANIFEST_BLOB_UNKNOWN")


@pytest.mark.parametrize("body", [b"", b"{}", b"not json", b'{"schemaVersion":1}'])
def test_what_is_no_manifest_is_refused(bench: Bench, body: bytes) -> None:
    reply = bench.send("PUT", "/v2/app/manifests/v1", body, content_type=MANIFEST)
    assert (reply.status, reply.code) == (400, "MANIFEST_INVALID")
    tag = bench.send("PUT", "/v2/app/manifests/bad%20tag", bench.image("x"), content_type=MANIFEST)
    assert (tag.status, tag.code) == (400, "TAG_INVALID")


def test_an_index_is_pushed_and_keeps_its_images(bench: Bench) -> None:
    child = bench.push_image("child", tag="")
    reply = bench.push_index([child])
    assert reply.status == 201
    assert bench.send("GET", "/v2/app/manifests/index").headers["content-type"] == INDEX
    assert bench.send("DELETE", f"/v2/app/manifests/{child}").status == 405


def test_an_immutable_tag_is_set_once(bench: Bench) -> None:
    from dataclasses import replace

    repository = bench.registry.repository("app")
    bench.registry.store.put_repository(replace(repository, mutability="IMMUTABLE"))
    first = bench.push_image("one", "v1")
    reply = bench.send("PUT", "/v2/app/manifests/v1", bench.image("two"), content_type=MANIFEST)
    assert (reply.status, reply.code) == (400, "TAG_INVALID")
    assert bench.send("HEAD", "/v2/app/manifests/v1").headers["docker-content-digest"] == first
    rules = replace(repository, mutability="IMMUTABLE_WITH_EXCLUSION", exclusions=("dev-*",))
    bench.registry.store.put_repository(rules)
    assert bench.push_image("one", "dev-1") != bench.push_image("two", "dev-1")


def test_of_two_pushes_of_one_tag_one_whole_image_is_seen(bench: Bench) -> None:
    images = {digest(body): body for body in (bench.image("one"), bench.image("two"))}
    for _ in range(3):
        for body in images.values():
            bench.send("PUT", "/v2/app/manifests/same", body, content_type=MANIFEST)
            got = bench.send("GET", "/v2/app/manifests/same")
            assert images[got.headers["docker-content-digest"]] == got.body == body
    assert set(images) == {image.digest for image in bench.registry.store.images("app")}


# pull


def test_blobs_are_found_and_sized_before_they_are_pulled(bench: Bench) -> None:
    bench.push_blob(DATA)
    head = bench.send("HEAD", f"/v2/app/blobs/{NAME}")
    assert (head.status, head.length, head.headers["docker-content-digest"]) == (200, len(DATA), NAME)
    assert bench.send("HEAD", f"/v2/app/blobs/{digest(b'none')}").status == 404
    assert bench.send("GET", f"/v2/app/blobs/{digest(b'none')}").code == "BLOB_UNKNOWN"
    assert bench.send("GET", "/v2/app/blobs/sha256:nonsense").code == "DIGEST_INVALID"


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [("bytes=0-9", DATA[:10]), ("bytes=100-", DATA[100:]), ("bytes=-5", DATA[-5:]), ("bytes=0-99999", DATA)],
)
def test_a_part_of_a_blob_is_pulled(bench: Bench, asked: str, wanted: bytes) -> None:
    bench.push_blob(DATA)
    reply = bench.send("GET", f"/v2/app/blobs/{NAME}", range=asked)
    first = len(DATA) - 5 if asked == "bytes=-5" else int(asked[6:].split("-")[0])
    assert (reply.status, reply.body) == (206, wanted)
    assert reply.headers["content-range"] == f"bytes {first}-{first + len(wanted) - 1}/{len(DATA)}"


def test_a_part_that_is_not_there_and_a_range_of_no_meaning(bench: Bench) -> None:
    bench.push_blob(DATA)
    reply = bench.send("GET", f"/v2/app/blobs/{NAME}", range="bytes=99999-")
    assert (reply.status, reply.headers["content-range"]) == (416, f"bytes */{len(DATA)}")
    for asked in ("bytes=9-1", "lines=1-2", "bytes=-", "bytes=1-2,4-5"):
        assert bench.send("GET", f"/v2/app/blobs/{NAME}", range=asked).body == DATA


# content discovery


def test_tags_are_listed_in_order_and_in_pages(bench: Bench) -> None:
    for tag in ("c", "a", "B", "b"):
        bench.push_image("one", tag)
    assert bench.send("GET", "/v2/app/tags/list").json() == {"name": "app", "tags": ["B", "a", "b", "c"]}
    first = bench.send("GET", "/v2/app/tags/list?n=2")
    assert first.json()["tags"] == ["B", "a"]
    assert first.headers["link"] == '</v2/app/tags/list?n=2&last=a>; rel="next"'
    last = bench.send("GET", "/v2/app/tags/list?n=2&last=a")
    assert last.json()["tags"] == ["b", "c"]
    assert "link" not in last.headers
    assert bench.send("GET", "/v2/app/tags/list?n=0").json()["tags"] == []
    assert bench.send("GET", "/v2/app/tags/list?n=x").code == "PAGINATION_NUMBER_INVALID"


def test_what_refers_to_an_image_is_found(bench: Bench) -> None:
    subject = bench.push_image("one")
    described = {"mediaType": MANIFEST, "digest": subject, "size": 1}
    body = bench.image("signature", subject=described, artifactType="signature/x", annotations={"by": "ann"})
    pushed = bench.send("PUT", f"/v2/app/manifests/{digest(body)}", body, content_type=MANIFEST)
    assert pushed.headers["oci-subject"] == subject
    bench.push_image("sbom", tag="", subject=described)
    index = bench.send("GET", f"/v2/app/referrers/{subject}")
    assert index.headers["content-type"] == INDEX
    assert {m["artifactType"] for m in index.json()["manifests"]} == {"signature/x", CONFIG}
    chosen = bench.send("GET", f"/v2/app/referrers/{subject}?artifactType=signature%2Fx")
    assert chosen.headers["oci-filters-applied"] == "artifactType"
    (only,) = chosen.json()["manifests"]
    assert only == {
        "mediaType": MANIFEST,
        "digest": digest(body),
        "size": len(body),
        "artifactType": "signature/x",
        "annotations": {"by": "ann"},
    }
    assert bench.send("GET", f"/v2/app/referrers/{digest(b'none')}").json()["manifests"] == []
    assert bench.send("GET", "/v2/app/referrers/x").status == 400


# content management


def test_deleting_a_tag_leaves_the_image_deleting_the_digest_takes_all(bench: Bench) -> None:
    name = bench.push_image("one", "a")
    bench.push_image("one", "b")
    assert bench.send("DELETE", "/v2/app/manifests/a").status == 202
    assert bench.send("GET", "/v2/app/manifests/a").code == "MANIFEST_UNKNOWN"
    assert bench.send("DELETE", f"/v2/app/manifests/{name}").status == 202
    assert bench.send("GET", "/v2/app/manifests/b").code == "MANIFEST_UNKNOWN"
    assert bench.blobs() == set()


def test_deleting_a_blob_frees_it_unless_another_repository_has_it(bench: Bench) -> None:
    bench.push_blob(DATA)
    bench.push_blob(DATA, "other")
    assert bench.send("DELETE", f"/v2/app/blobs/{NAME}").status == 202
    assert bench.send("GET", f"/v2/app/blobs/{NAME}").status == 404
    assert bench.send("GET", f"/v2/other/blobs/{NAME}").body == DATA
    assert bench.send("DELETE", f"/v2/app/blobs/{NAME}").status == 404


def test_a_blob_stays_while_an_image_of_its_repository_needs_it(bench: Bench) -> None:
    name = bench.push_image("one")
    layer = bench.send("GET", "/v2/app/manifests/latest").json()["layers"][0]["digest"]
    reply = bench.send("DELETE", f"/v2/app/blobs/{layer}")
    assert (reply.status, reply.code) == (405, "UNSUPPORTED")
    assert name in reply.json()["errors"][0]["message"]
    assert bench.send("GET", f"/v2/app/blobs/{layer}").status == 200


def test_a_blob_whose_last_user_goes_while_it_is_being_stored_stays(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.push_image("one", repository="other")
    layer = bench.send("GET", "/v2/other/manifests/latest").json()["layers"][0]["digest"]
    request = bench.request("POST", f"/v2/app/blobs/uploads/?digest={layer}")
    request.sink = bench.distribution.stream(request)
    assert request.sink is not None
    request.sink.write(bench.registry.blobs.read(layer))
    commit = BlobWriter.commit

    async def lose() -> None:
        bench.registry.delete_repository("other", force=True)

    async def push() -> int:
        loop = asyncio.get_running_loop()

        def committed(writer: BlobWriter, expected: str | None = None) -> str:
            found = commit(writer, expected)
            asyncio.run_coroutine_threadsafe(lose(), loop).result(30)
            return found

        monkeypatch.setattr(BlobWriter, "commit", committed)
        return (await bench.distribution.handle(request)).status

    assert asyncio.run(push()) == 201
    assert bench.send("GET", f"/v2/app/blobs/{layer}").status == 200


def test_what_is_shared_is_stored_once_and_goes_with_its_last_user(bench: Bench) -> None:
    bench.push_image("one", "a")
    before = bench.blobs()
    bench.push_image("one", "a", "other")
    bench.push_image("two", "b")
    assert len(bench.blobs()) == len(before) + 2
    bench.send("DELETE", f"/v2/app/manifests/{bench.registry.store.tagged('app', 'a')}")
    assert before < bench.blobs()
    bench.registry.delete_repository("other", force=True)
    assert before.isdisjoint(bench.blobs())
    assert bench.send("GET", "/v2/app/manifests/b").status == 200


def test_a_push_under_way_survives_deletions_and_collections(bench: Bench) -> None:
    body = bench.image("one")
    bench.push_image("two", "gone")
    bench.send("DELETE", f"/v2/app/manifests/{bench.registry.store.tagged('app', 'gone')}")
    assert bench.registry.collect().files == 0
    assert bench.send("PUT", "/v2/app/manifests/v1", body, content_type=MANIFEST).status == 201


def test_a_push_given_up_is_collected_and_says_so_to_a_late_manifest(bench: Bench) -> None:
    body = bench.image("one")
    where = bench.send("POST", "/v2/app/blobs/uploads/").headers["location"]
    bench.send("PATCH", where, DATA)
    assert bench.registry.collect().files == 0
    bench.now_s += GRACE_S + 60
    collected = bench.registry.collect()
    assert (collected.files, bench.blobs()) == (3, set())
    assert bench.send("GET", where).code == "BLOB_UPLOAD_UNKNOWN"
    reply = bench.send("PUT", "/v2/app/manifests/v1", body, content_type=MANIFEST)
    assert reply.code == "MANIFEST_BLOB_UNKNOWN"


def test_a_layer_that_a_new_push_was_told_of_outlives_the_image_it_came_with(bench: Bench) -> None:
    body = bench.image("one")
    name = bench.push_image("one")
    for described in [json.loads(body)["config"], *json.loads(body)["layers"]]:
        assert bench.send("HEAD", f"/v2/app/blobs/{described['digest']}").status == 200
    bench.send("DELETE", f"/v2/app/manifests/{name}")
    assert bench.send("PUT", "/v2/app/manifests/again", body, content_type=MANIFEST).status == 201


@pytest.mark.parametrize(
    ("method", "url", "status"),
    [
        ("GET", "/v2/app/nothing/x", 404),
        ("GET", "/v2/app", 404),
        ("GET", "/v2/app/tags/other", 404),
        ("PUT", "/v2/app/tags/list", 405),
        ("PATCH", "/v2/app/manifests/a", 405),
        ("GET", "/v2/app/manifests/..%2f..%2fx", 404),
    ],
)
def test_what_is_not_of_this_api_is_refused(bench: Bench, method: str, url: str, status: int) -> None:
    assert bench.send(method, url).status == status

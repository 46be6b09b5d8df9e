"""ECR's API through botocore's client: shapes, pages, errors in AWS's words."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from boto_in_process import Cloud, cloud
from botocore.exceptions import ClientError
from ecr_support import MANIFEST, Bench, digest

from preheat.services.ecr import tokens
from preheat.services.ecr.provider import EcrProvider
from preheat.services.ecr.registry import Registry

ACCOUNT = "000000000000"
POLICY = json.dumps({"rules": [{"rulePriority": 1, "action": {"type": "expire"}, "description": "x" * 100}]})


@pytest.fixture(scope="module")
def running() -> Iterator[Cloud]:
    with cloud() as made:
        yield made


@pytest.fixture
def bench(tmp_path: Path, running: Cloud) -> Iterator[Bench]:
    """Its registry is opened on the thread that serves, and used from there only."""

    async def open_bench() -> Bench:
        return Bench(tmp_path)

    made: Bench = running.run(open_bench)
    yield made

    async def close() -> None:
        made.close()

    running.run(close)


@pytest.fixture
def ecr(bench: Bench, running: Cloud) -> Any:
    running.serve({"ecr": EcrProvider(bench.registry, "127.0.0.1:4566")})
    return running.client("ecr")


@pytest.fixture
def push(bench: Bench, tmp_path: Path) -> Iterator[Bench]:
    """The same registry from this thread: SQLite lets one connection a thread."""
    second = Bench.__new__(Bench)
    second.data_dir, second.now_s, second.password = tmp_path, bench.now_s, bench.password
    second.open()
    yield second
    second.close()


def refused(call: Any, **params: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as error:
        call(**params)
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    return error.value.response["Error"]["Code"], error.value.response["Error"]["Message"]


def test_a_repository_has_the_members_that_aws_gives_it(ecr: Any) -> None:
    made = ecr.create_repository(repositoryName="team/iris", tags=[{"Key": "a", "Value": "b"}])["repository"]
    created = made.pop("createdAt")
    assert created.tzinfo is not None
    arn = f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/team/iris"
    assert made == {
        "repositoryArn": arn,
        "registryId": ACCOUNT,
        "repositoryName": "team/iris",
        "repositoryUri": "127.0.0.1:4566/team/iris",
        "imageTagMutability": "MUTABLE",
        "imageScanningConfiguration": {"scanOnPush": False},
        "encryptionConfiguration": {"encryptionType": "AES256"},
    }
    message = f"The repository with name 'team/iris' already exists in the registry with id '{ACCOUNT}'"
    assert refused(ecr.create_repository, repositoryName="team/iris") == ("RepositoryAlreadyExistsException", message)
    assert ecr.list_tags_for_resource(resourceArn=arn)["tags"] == [{"Key": "a", "Value": "b"}]
    ecr.tag_resource(resourceArn=arn, tags=[{"Key": "c", "Value": "d"}])
    ecr.untag_resource(resourceArn=arn, tagKeys=["a"])
    assert ecr.list_tags_for_resource(resourceArn=arn)["tags"] == [{"Key": "c", "Value": "d"}]


def test_repositories_come_in_pages_and_by_name(ecr: Any) -> None:
    for number in range(5):
        ecr.create_repository(repositoryName=f"r{number}")
    pages = list(ecr.get_paginator("describe_repositories").paginate(PaginationConfig={"PageSize": 3}))
    assert [len(page["repositories"]) for page in pages] == [3, 3, 1]
    names = [repository["repositoryName"] for page in pages for repository in page["repositories"]]
    assert names == ["app", "other", "r0", "r1", "r2", "r3", "r4"]
    assert len(ecr.describe_repositories(repositoryNames=["r1", "app"])["repositories"]) == 2
    message = f"The repository with name 'none' does not exist in the registry with id '{ACCOUNT}'"
    assert refused(ecr.describe_repositories, repositoryNames=["none"]) == ("RepositoryNotFoundException", message)
    assert refused(ecr.describe_repositories, nextToken="ü?")[0] == "InvalidParameterException"


def test_the_token_is_what_docker_logs_in_with(ecr: Any, push: Bench) -> None:
    (data,) = ecr.get_authorization_token()["authorizationData"]
    user, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    assert (user, data["proxyEndpoint"]) == ("AWS", "http://127.0.0.1:4566")
    assert data["expiresAt"].timestamp() == pytest.approx(push.now_s + tokens.LIFETIME_S, abs=2)
    push.password = password
    assert push.send("GET", "/v2/").status == 200


def test_a_repository_with_images_goes_only_by_force(ecr: Any, push: Bench) -> None:
    push.push_image()
    code, message = refused(ecr.delete_repository, repositoryName="app")
    assert code == "RepositoryNotEmptyException"
    assert message.endswith("cannot be deleted because it still contains images")
    assert ecr.delete_repository(repositoryName="app", force=True)["repository"]["repositoryName"] == "app"
    assert refused(ecr.delete_repository, repositoryName="app")[0] == "RepositoryNotFoundException"
    assert push.blobs() == set()


def test_images_are_described_and_listed(ecr: Any, push: Bench) -> None:
    names = [push.push_image(name, tag=tag) for name, tag in [("one", "v1"), ("two", "v2"), ("three", "")]]
    push.push_image("one", "v1-again")
    (detail,) = ecr.describe_images(repositoryName="app", imageIds=[{"imageTag": "v1"}])["imageDetails"]
    assert (detail["imageDigest"], detail["imageTags"]) == (names[0], ["v1", "v1-again"])
    assert detail["imageManifestMediaType"] == MANIFEST
    manifest = json.loads(push.send("GET", "/v2/app/manifests/v1").body)
    assert detail["imageSizeInBytes"] == manifest["config"]["size"] + manifest["layers"][0]["size"]
    pages = list(ecr.get_paginator("describe_images").paginate(repositoryName="app", PaginationConfig={"PageSize": 2}))
    assert [len(page["imageDetails"]) for page in pages] == [2, 1]
    untagged = ecr.describe_images(repositoryName="app", filter={"tagStatus": "UNTAGGED"})["imageDetails"]
    assert [image["imageDigest"] for image in untagged] == [names[2]]
    ids = ecr.get_paginator("list_images").paginate(repositoryName="app", PaginationConfig={"PageSize": 1})
    found = [image_id for page in ids for image_id in page["imageIds"]]
    assert len(found) == 4
    assert {image_id.get("imageTag") for image_id in found} == {"v1", "v1-again", "v2", None}
    tagged = ecr.list_images(repositoryName="app", filter={"tagStatus": "TAGGED"})["imageIds"]
    assert len(tagged) == 3
    code, message = refused(ecr.describe_images, repositoryName="app", imageIds=[{"imageTag": "v9"}])
    assert code == "ImageNotFoundException"
    assert message == (
        "The image with imageId {imageDigest:'null', imageTag:'v9'} does not exist within the repository with "
        f"name 'app' in the registry with id '{ACCOUNT}'"
    )


def test_a_batch_gets_what_there_is_and_says_what_there_is_not(ecr: Any, push: Bench) -> None:
    name = push.push_image()
    ids = [{"imageTag": "latest"}, {"imageTag": "none"}, {}, {"imageDigest": "sha256:zz"}]
    answer = ecr.batch_get_image(repositoryName="app", imageIds=ids)
    (image,) = answer["images"]
    assert image["imageId"] == {"imageDigest": name, "imageTag": "latest"}
    assert digest(image["imageManifest"].encode()) == name
    assert [failure["failureCode"] for failure in answer["failures"]] == [
        "ImageNotFound",
        "MissingDigestAndTag",
        "InvalidImageDigest",
    ]
    (detail,) = ecr.describe_images(repositoryName="app")["imageDetails"]
    assert "lastRecordedPullTime" in detail


def test_a_batch_deletes_by_tag_and_by_digest(ecr: Any, push: Bench) -> None:
    one = push.push_image("one", "a")
    push.push_image("one", "b")
    two = push.push_image("two", "c")
    by_tag = ecr.batch_delete_image(repositoryName="app", imageIds=[{"imageTag": "a"}, {"imageTag": "none"}])
    assert by_tag["imageIds"] == [{"imageDigest": one, "imageTag": "a"}]
    assert by_tag["failures"][0]["failureReason"] == "Requested image not found"
    assert ecr.describe_images(repositoryName="app", imageIds=[{"imageDigest": one}])["imageDetails"]
    ecr.batch_delete_image(repositoryName="app", imageIds=[{"imageTag": "b"}, {"imageDigest": two}])
    assert ecr.list_images(repositoryName="app")["imageIds"] == []
    assert push.blobs() == set()


def test_an_image_with_two_tags_is_two_images_of_a_batch(ecr: Any, push: Bench) -> None:
    name = push.push_image("one", "a")
    push.push_image("one", "b")
    by_digest = ecr.batch_get_image(repositoryName="app", imageIds=[{"imageDigest": name}])
    assert [image["imageId"]["imageTag"] for image in by_digest["images"]] == ["a", "b"]
    both = [{"imageDigest": name, "imageTag": "a"}]
    assert len(ecr.batch_get_image(repositoryName="app", imageIds=both)["images"]) == 1
    assert ecr.batch_delete_image(repositoryName="app", imageIds=both)["imageIds"] == both  # the tag, not the image
    same = ecr.batch_delete_image(repositoryName="app", imageIds=[{"imageDigest": name}, {"imageTag": "b"}])
    assert same == {**same, "imageIds": [{"imageDigest": name, "imageTag": "b"}], "failures": []}
    assert ecr.list_images(repositoryName="app")["imageIds"] == []


@pytest.mark.parametrize("operation", ["batch_get_image", "batch_delete_image"])
def test_a_tag_and_a_digest_have_to_agree(ecr: Any, push: Bench, operation: str) -> None:
    name, other = push.push_image("one", "v1"), digest(b"in no repository")
    ids = [{"imageTag": "v1", "imageDigest": other}, {"imageTag": "v9", "imageDigest": name}]
    failures = getattr(ecr, operation)(repositoryName="app", imageIds=ids)["failures"]
    assert [failure["imageId"] for failure in failures] == ids
    assert [(failure["failureCode"], failure["failureReason"]) for failure in failures] == [
        ("ImageTagDoesNotMatchDigest", "Invalid request parameters: given tag does not map to the given digest"),
        ("ImageNotFound", "Requested image not found"),
    ]
    assert len(ecr.list_images(repositoryName="app")["imageIds"]) == 1


def test_an_index_is_as_large_as_its_largest_image(ecr: Any, push: Bench) -> None:
    names = [push.push_image(name, tag="") for name in ("a", "a much longer name " * 50)]
    push.push_index(names)
    sizes = {
        detail["imageDigest"]: detail["imageSizeInBytes"]
        for detail in ecr.describe_images(repositoryName="app")["imageDetails"]
    }
    (index,) = set(sizes) - set(names)
    assert sizes[names[0]] < sizes[names[1]] == sizes[index]


NAME_PATTERN = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*"


@pytest.mark.parametrize(
    ("name", "constraint"),
    [
        ("Organization/app", f"must satisfy regular expression '{NAME_PATTERN}'"),
        ("app/", f"must satisfy regular expression '{NAME_PATTERN}'"),
        ("a", "must have length greater than or equal to 2"),
        ("a" * 257, "must have length less than or equal to 256"),
    ],
)
def test_a_name_is_refused_in_ecrs_words(ecr: Any, running: Cloud, name: str, constraint: str) -> None:
    unchecked = running.client("ecr", parameter_validation=False)
    code, message = refused(unchecked.create_repository, repositoryName=name)
    assert code == "InvalidParameterException"
    assert message == f"Invalid parameter at 'repositoryName' failed to satisfy constraint: '{constraint}'"


def test_lists_and_kinds_are_refused_in_ecrs_words(ecr: Any, running: Cloud) -> None:
    unchecked = running.client("ecr", parameter_validation=False)
    _, message = refused(unchecked.batch_get_image, repositoryName="app", imageIds=[])
    least = "'Member must have length greater than or equal to 1'"
    assert message == f"Invalid parameter at 'imageIds' failed to satisfy constraint: {least}"
    _, message = refused(ecr.create_repository, repositoryName="kinds", imageTagMutability="NO")
    assert "'imageTagMutability' failed to satisfy constraint: 'Member must satisfy enum value set: [" in message


def test_an_image_of_an_index_stays_while_the_index_does(ecr: Any, push: Bench) -> None:
    child = push.push_image("child", tag="")
    index = push.push_index([child]).headers["docker-content-digest"]
    (failure,) = ecr.batch_delete_image(repositoryName="app", imageIds=[{"imageDigest": child}])["failures"]
    assert failure["failureCode"] == "ImageReferencedByManifestList"
    assert failure["failureReason"] == f"Requested image referenced by manifest list: [{index}]"
    ids = [{"imageDigest": index}, {"imageDigest": child}]
    assert ecr.batch_delete_image(repositoryName="app", imageIds=ids)["failures"] == []


def test_put_image_tags_what_is_there(ecr: Any, push: Bench) -> None:
    name = push.push_image("one", "v1")
    body = push.send("GET", "/v2/app/manifests/v1").body.decode()
    put = ecr.put_image(repositoryName="app", imageManifest=body, imageTag="stable")["image"]
    assert put["imageId"] == {"imageDigest": name, "imageTag": "stable"}
    code, message = refused(ecr.put_image, repositoryName="app", imageManifest=body, imageTag="stable")
    assert code == "ImageAlreadyExistsException"
    assert f"Image with digest '{name}' and tag 'stable' already exists" in message
    wrong = {"imageManifest": body, "imageTag": "x", "imageDigest": digest(b"x")}
    assert refused(ecr.put_image, repositoryName="app", **wrong)[0] == "ImageDigestDoesNotMatchException"
    assert refused(ecr.put_image, repositoryName="other", imageManifest=body)[0] == "LayersNotFoundException"
    assert refused(ecr.put_image, repositoryName="app", imageManifest="{}")[0] == "InvalidParameterException"


def test_mutability_is_set_and_obeyed(ecr: Any, push: Bench) -> None:
    push.push_image("one", "v1")
    ecr.put_image_tag_mutability(repositoryName="app", imageTagMutability="IMMUTABLE")
    two = push.image("two").decode()
    code, message = refused(ecr.put_image, repositoryName="app", imageManifest=two, imageTag="v1")
    assert code == "ImageTagAlreadyExistsException"
    assert message == (
        "The image tag 'v1' already exists in the 'app' repository and cannot be overwritten because the tag is "
        "immutable."
    )
    filters = [{"filterType": "WILDCARD", "filter": "v*"}]
    mutability = {"imageTagMutability": "IMMUTABLE_WITH_EXCLUSION", "imageTagMutabilityExclusionFilters": filters}
    assert (
        ecr.put_image_tag_mutability(repositoryName="app", **mutability)["imageTagMutabilityExclusionFilters"]
        == filters
    )
    assert ecr.put_image(repositoryName="app", imageManifest=two, imageTag="v1")["image"]["imageId"]["imageTag"] == "v1"
    bad = {"repositoryName": "app", "imageTagMutability": "MUTABLE", "imageTagMutabilityExclusionFilters": filters}
    assert refused(ecr.put_image_tag_mutability, **bad)[0] == "InvalidParameterException"


def test_policies_are_kept_and_given_back(ecr: Any) -> None:
    missing = f"Lifecycle policy does not exist for the repository with name 'app' in the registry with id '{ACCOUNT}'"
    assert refused(ecr.get_lifecycle_policy, repositoryName="app") == ("LifecyclePolicyNotFoundException", missing)
    ecr.put_lifecycle_policy(repositoryName="app", lifecyclePolicyText=POLICY)
    assert ecr.get_lifecycle_policy(repositoryName="app")["lifecyclePolicyText"] == POLICY
    assert ecr.delete_lifecycle_policy(repositoryName="app")["lifecyclePolicyText"] == POLICY
    assert refused(ecr.delete_lifecycle_policy, repositoryName="app")[0] == "LifecyclePolicyNotFoundException"
    bad = refused(ecr.put_lifecycle_policy, repositoryName="app", lifecyclePolicyText="x" * 100)
    assert bad == (
        "InvalidParameterException",
        "Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: 'Lifecycle policy validation "
        "failure: Could not map policyString into LifecyclePolicy.'",
    )
    assert refused(ecr.get_repository_policy, repositoryName="app")[0] == "RepositoryPolicyNotFoundException"
    ecr.set_repository_policy(repositoryName="app", policyText="{}")
    assert ecr.get_repository_policy(repositoryName="app")["policyText"] == "{}"
    assert ecr.delete_repository_policy(repositoryName="app")["policyText"] == "{}"


def test_another_accounts_registry_has_nothing(ecr: Any) -> None:
    assert refused(ecr.describe_repositories, registryId="123456789012")[0] == "RepositoryNotFoundException"


def test_everything_survives_a_kill(ecr: Any, push: Bench, tmp_path: Path) -> None:
    name = push.push_image("one", "v1")
    ecr.create_repository(repositoryName="kept", imageTagMutability="IMMUTABLE")
    again = Registry(tmp_path, ACCOUNT)
    try:
        assert again.repository("kept").mutability == "IMMUTABLE"
        assert again.find("app", {"imageTag": "v1"}).digest == name
    finally:
        again.close()

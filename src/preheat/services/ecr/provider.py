"""ECR's operations. Image scanning, replication, pull-through caches and templates are not built."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from preheat.aws.context import OperationContext
from preheat.kernel.errors import AwsError
from preheat.services.ecr import tokens
from preheat.services.ecr.batches import NOT_FOUND, WRONG_DIGEST, malformed, referenced
from preheat.services.ecr.failures import invalid
from preheat.services.ecr.models import Image, ImageId, Repository
from preheat.services.ecr.pages import after, page
from preheat.services.ecr.registry import Registry

_NO_LIFECYCLE = "Lifecycle policy validation failure: Could not map policyString into LifecyclePolicy."
_TAGS_MAX = 50


class EcrProvider:
    """`address` is the host and port that Docker reaches the registry at."""

    def __init__(self, registry: Registry, address: str) -> None:
        self._registry = registry
        self._store = registry.store
        self._address = address

    # authorization

    def get_authorization_token(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        expires_s = int(self._registry.clock()) + tokens.LIFETIME_S
        token = f"{tokens.USER}:{tokens.issue(self._store.secret(), expires_s)}"
        data = {
            "authorizationToken": base64.b64encode(token.encode()).decode(),
            "expiresAt": datetime.fromtimestamp(expires_s, UTC),
            "proxyEndpoint": f"http://{self._address}",
        }
        return {"authorizationData": [data]}

    # repositories

    def create_repository(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        name = params["repositoryName"]
        _check_account(context, params)
        if self._store.repository(name) is not None:
            raise self._registry.failures.repository_exists(name)
        tags = {tag["Key"]: tag.get("Value", "") for tag in params.get("tags") or ()}
        repository = Repository(
            name=name,
            created_s=self._registry.clock(),
            mutability=params.get("imageTagMutability") or "MUTABLE",
            exclusions=_exclusions(params),
            scan_on_push=bool((params.get("imageScanningConfiguration") or {}).get("scanOnPush")),
            encryption=params.get("encryptionConfiguration") or {"encryptionType": "AES256"},
            tags=_checked_tags(tags),
        )
        self._store.put_repository(repository)
        return {"repository": self._shown(context, repository)}

    def describe_repositories(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        _check_account(context, params)
        if names := params.get("repositoryNames"):
            found = [self._registry.repository(name) for name in names]
            return {"repositories": [self._shown(context, repository) for repository in found]}
        count = params.get("maxResults") or 100
        found = self._store.repositories(after(params), count + 1)
        return page("repositories", found, count, lambda r: r.name, lambda r: self._shown(context, r))

    def delete_repository(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        _check_account(context, params)
        repository = self._registry.delete_repository(params["repositoryName"], force=bool(params.get("force")))
        return {"repository": self._shown(context, repository)}

    def put_image_tag_mutability(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        repository, answer = self._named(context, params)
        changed = replace(repository, mutability=params["imageTagMutability"], exclusions=_exclusions(params))
        self._store.put_repository(changed)
        answer["imageTagMutability"] = changed.mutability
        answer["imageTagMutabilityExclusionFilters"] = _shown_exclusions(changed)
        return answer

    def put_image_scanning_configuration(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        repository, answer = self._named(context, params)
        wanted = bool(params["imageScanningConfiguration"].get("scanOnPush"))
        self._store.put_repository(replace(repository, scan_on_push=wanted))
        return {**answer, "imageScanningConfiguration": {"scanOnPush": wanted}}

    # policies: kept and given back, never carried out

    def put_lifecycle_policy(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        repository, answer = self._named(context, params)
        text = _checked_json("LifecyclePolicyText", params["lifecyclePolicyText"], _NO_LIFECYCLE)
        self._store.put_repository(replace(repository, lifecycle_policy=text))
        return {**answer, "lifecyclePolicyText": text}

    def get_lifecycle_policy(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        repository, answer = self._named(context, params)
        if repository.lifecycle_policy is None:
            raise self._registry.failures.no_lifecycle_policy(repository.name)
        return {**answer, "lifecyclePolicyText": repository.lifecycle_policy}

    def delete_lifecycle_policy(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        answer = self.get_lifecycle_policy(context, params)
        repository = self._registry.repository(params["repositoryName"])
        self._store.put_repository(replace(repository, lifecycle_policy=None))
        return answer

    def set_repository_policy(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        repository, answer = self._named(context, params)
        text = _checked_json("PolicyText", params["policyText"], "Invalid repository policy provided")
        self._store.put_repository(replace(repository, policy=text))
        return {**answer, "policyText": text}

    def get_repository_policy(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        repository, answer = self._named(context, params)
        if repository.policy is None:
            raise self._registry.failures.no_repository_policy(repository.name)
        return {**answer, "policyText": repository.policy}

    def delete_repository_policy(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        answer = self.get_repository_policy(context, params)
        repository = self._registry.repository(params["repositoryName"])
        self._store.put_repository(replace(repository, policy=None))
        return answer

    # tags of a repository

    def tag_resource(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        repository = self._by_arn(context, params)
        new = {tag["Key"]: tag.get("Value", "") for tag in params["tags"]}
        self._store.put_repository(replace(repository, tags=_checked_tags({**repository.tags, **new})))
        return {}

    def untag_resource(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        repository = self._by_arn(context, params)
        left = {key: value for key, value in repository.tags.items() if key not in params["tagKeys"]}
        self._store.put_repository(replace(repository, tags=left))
        return {}

    def list_tags_for_resource(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        repository = self._by_arn(context, params)
        return {"tags": [{"Key": key, "Value": value} for key, value in repository.tags.items()]}

    # images

    def put_image(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        repository, _ = self._named(context, params)
        tag = params.get("imageTag")
        image = self._registry.put_new(
            repository.name,
            params["imageManifest"].encode(),
            media_type=params.get("imageManifestMediaType") or "",
            tag=tag,
            digest=params.get("imageDigest"),
        )
        return {"image": self._whole(context, image, _image_id(image, tag))}

    def list_images(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        repository, _ = self._named(context, params)
        status = (params.get("filter") or {}).get("tagStatus") or "ANY"
        ids: list[dict[str, str]] = []
        for image in self._store.images(repository.name):
            if status == "ANY" or bool(image.tags) == (status == "TAGGED"):
                ids += _ids(image, None)
        count, start = params.get("maxResults") or 100, after(params)
        rest = [image_id for image_id in ids if _list_key(image_id) > start]
        return page("imageIds", rest[: count + 1], count, _list_key, dict)

    def describe_images(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        repository, _ = self._named(context, params)
        if wanted := params.get("imageIds"):
            found = {image.digest: image for image in (self._registry.find(repository.name, i) for i in wanted)}
            return {"imageDetails": [_detail(context, image) for image in found.values()]}
        status = (params.get("filter") or {}).get("tagStatus") or "ANY"
        count = params.get("maxResults") or 100
        images = [
            image
            for image in self._store.images(repository.name, after(params))
            if status == "ANY" or bool(image.tags) == (status == "TAGGED")
        ]
        return page("imageDetails", images[: count + 1], count, lambda i: i.digest, lambda i: _detail(context, i))

    def batch_get_image(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        repository, _ = self._named(context, params)
        found, failures = self._found(repository.name, params["imageIds"])
        images: list[dict[str, Any]] = []
        for image_id, image in found:
            images += [self._whole(context, image, one) for one in _ids(image, image_id.get("imageTag"))]
            self._store.note_pull(repository.name, image.digest, self._registry.clock())
        return {"images": images, "failures": failures}

    def batch_delete_image(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        repository, _ = self._named(context, params)
        found, failures = self._found(repository.name, params["imageIds"])
        deleted: list[dict[str, str]] = []
        for image_id, before in found:
            image, tag = self._store.image(repository.name, before.digest), image_id.get("imageTag")
            if image is None or (tag and tag not in image.tags):
                continue  # an earlier id of the batch meant the same
            parents = self._store.parents(repository.name, image.digest)
            if parents and not (tag and len(image.tags) > 1):
                failures.append(referenced(parents).of(image_id))
                continue
            self._registry.delete(image, tag)
            deleted += _ids(image, tag)
        return {"imageIds": deleted, "failures": failures}

    def _found(self, repository: str, ids: list[ImageId]) -> tuple[list[tuple[ImageId, Image]], list[dict[str, Any]]]:
        """The images of a batch, found before anything is done to them, and what to say of the other ids."""
        found: list[tuple[ImageId, Image]] = []
        failures: list[dict[str, Any]] = []
        for image_id in ids:
            failure, tag = malformed(image_id), image_id.get("imageTag")
            if failure is None:
                try:
                    found.append((image_id, self._registry.find(repository, image_id)))
                    continue
                except AwsError:
                    failure = WRONG_DIGEST if tag and self._store.tagged(repository, tag) else NOT_FOUND
            failures.append(failure.of(image_id))
        return found, failures

    # shapes

    def _named(self, context: OperationContext, params: dict[str, Any]) -> tuple[Repository, dict[str, Any]]:
        """The repository of a call, and the members that most answers begin with."""
        _check_account(context, params)
        repository = self._registry.repository(params["repositoryName"])
        return repository, {"registryId": context.account_id, "repositoryName": repository.name}

    def _by_arn(self, context: OperationContext, params: dict[str, Any]) -> Repository:
        arn = params["resourceArn"]
        prefix = _arn(context, "")
        if not arn.startswith(prefix):
            raise invalid("'resourceArn' failed to satisfy constraint: 'Invalid ARN'")
        return self._registry.repository(arn.removeprefix(prefix))

    def _shown(self, context: OperationContext, repository: Repository) -> dict[str, Any]:
        shown = {
            "repositoryArn": _arn(context, repository.name),
            "registryId": context.account_id,
            "repositoryName": repository.name,
            "repositoryUri": f"{self._address}/{repository.name}",
            "createdAt": datetime.fromtimestamp(repository.created_s, UTC),
            "imageTagMutability": repository.mutability,
            "imageScanningConfiguration": {"scanOnPush": repository.scan_on_push},
            "encryptionConfiguration": dict(repository.encryption),
        }
        if repository.exclusions:
            shown["imageTagMutabilityExclusionFilters"] = _shown_exclusions(repository)
        return shown

    def _whole(self, context: OperationContext, image: Image, image_id: dict[str, str]) -> dict[str, Any]:
        return {
            "registryId": context.account_id,
            "repositoryName": image.repository,
            "imageId": image_id,
            "imageManifest": self._registry.body(image).decode(),
            "imageManifestMediaType": image.media_type,
        }


def _check_account(context: OperationContext, params: dict[str, Any]) -> None:
    """Another account's registry has none of ours."""
    asked = params.get("registryId") or context.account_id
    if asked != context.account_id:
        raise AwsError("RepositoryNotFoundException", f"The registry with id '{asked}' does not exist")


def _checked_json(member: str, text: str, problem: str) -> str:
    try:
        if not isinstance(json.loads(text), dict):
            raise ValueError("not an object")
    except ValueError:
        raise invalid(f"'{member}' failed to satisfy constraint: '{problem}'") from None
    return text


def _checked_tags(tags: dict[str, str]) -> dict[str, str]:
    if len(tags) > _TAGS_MAX:
        raise AwsError("TooManyTagsException", f"The number of tags exceeds the limit of {_TAGS_MAX}")
    return tags


def _exclusions(params: dict[str, Any]) -> tuple[str, ...]:
    filters = tuple(item["filter"] for item in params.get("imageTagMutabilityExclusionFilters") or ())
    excluding = (params.get("imageTagMutability") or "").endswith("_WITH_EXCLUSION")
    if bool(filters) != excluding:
        raise invalid(
            "'imageTagMutabilityExclusionFilters' failed to satisfy constraint: "
            "'exclusion filters go with IMMUTABLE_WITH_EXCLUSION or MUTABLE_WITH_EXCLUSION'"
        )
    return filters


def _shown_exclusions(repository: Repository) -> list[dict[str, str]] | None:
    return [{"filterType": "WILDCARD", "filter": text} for text in repository.exclusions] or None


def _detail(context: OperationContext, image: Image) -> dict[str, Any]:
    detail: dict[str, Any] = {
        "registryId": context.account_id,
        "repositoryName": image.repository,
        "imageDigest": image.digest,
        "imageSizeInBytes": image.size_bytes,
        "imagePushedAt": datetime.fromtimestamp(image.pushed_s, UTC),
        "imageManifestMediaType": image.media_type,
        "imageStatus": "ACTIVE",
    }
    if image.tags:
        detail["imageTags"] = list(image.tags)
    if image.artifact_type:
        detail["artifactMediaType"] = image.artifact_type
    if image.pulled_s is not None:
        detail["lastRecordedPullTime"] = datetime.fromtimestamp(image.pulled_s, UTC)
    if image.subject:
        detail["subjectManifestDigest"] = image.subject
    return detail


def _arn(context: OperationContext, repository: str) -> str:
    return f"arn:aws:ecr:{context.region}:{context.account_id}:repository/{repository}"


def _image_id(image: Image, tag: str | None) -> dict[str, str]:
    return {"imageDigest": image.digest, "imageTag": tag} if tag else {"imageDigest": image.digest}


def _ids(image: Image, tag: str | None) -> list[dict[str, str]]:
    """What an image goes by: one id for each of its tags, or for `tag` alone."""
    return [_image_id(image, name) for name in ([tag] if tag else image.tags or [None])]


def _list_key(image_id: ImageId) -> str:
    return f"{image_id['imageDigest']} {image_id.get('imageTag', '')}"

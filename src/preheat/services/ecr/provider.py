"""ECR's operations. Image scanning, replication, pull-through caches and templates are not built."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from preheat.aws.context import OperationContext
from preheat.kernel.errors import AwsError
from preheat.oci.digest import is_digest
from preheat.services.ecr import tokens
from preheat.services.ecr.failures import invalid
from preheat.services.ecr.models import Image, ImageId, Repository
from preheat.services.ecr.pages import after, page
from preheat.services.ecr.registry import Registry

_MISSING = ("ImageNotFound", "Requested image not found")
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
        text = _checked_json("lifecyclePolicyText", params["lifecyclePolicyText"])
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
        text = _checked_json("policyText", params["policyText"])
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
        image = self._registry.put_new(
            repository.name,
            params["imageManifest"].encode(),
            media_type=params.get("imageManifestMediaType") or "",
            tag=params.get("imageTag"),
            digest=params.get("imageDigest"),
        )
        return {"image": self._whole(context, image, params.get("imageTag"))}

    def list_images(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        repository, _ = self._named(context, params)
        status = (params.get("filter") or {}).get("tagStatus") or "ANY"
        ids: list[dict[str, str]] = []
        for image in self._store.images(repository.name):
            if image.tags and status != "UNTAGGED":
                ids += [{"imageDigest": image.digest, "imageTag": tag} for tag in image.tags]
            elif not image.tags and status != "TAGGED":
                ids.append({"imageDigest": image.digest})
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
        images: list[dict[str, Any]] = []
        failures: list[dict[str, Any]] = []
        for image_id in params["imageIds"]:
            try:
                _check_image_id(image_id)
                image = self._registry.find(repository.name, image_id)
                images.append(self._whole(context, image, image_id.get("imageTag")))
                self._store.note_pull(repository.name, image.digest, self._registry.clock())
            except (AwsError, _BadImageId) as error:
                failures.append(_failure(image_id, error))
        return {"images": images, "failures": failures}

    def batch_delete_image(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        repository, _ = self._named(context, params)
        deleted: list[dict[str, Any]] = []
        failures: list[dict[str, Any]] = []
        for image_id in params["imageIds"]:
            try:
                _check_image_id(image_id)
                deleted += self._delete(repository.name, image_id)
            except (AwsError, _BadImageId) as error:
                failures.append(_failure(image_id, error))
        return {"imageIds": deleted, "failures": failures}

    def _delete(self, repository: str, image_id: ImageId) -> list[dict[str, str]]:
        image, tag = self._registry.find(repository, image_id), image_id.get("imageTag")
        only_tag = tag is not None and not image_id.get("imageDigest")
        parents = self._store.parents(repository, image.digest)
        if parents and not (only_tag and len(image.tags) > 1):
            reason = f"Requested image referenced by manifest list: [{', '.join(parents)}]"
            raise _BadImageId("ImageReferencedByManifestList", reason)
        self._registry.delete(repository, image_id)
        tags = [tag] if only_tag and tag else list(image.tags)
        return [{"imageDigest": image.digest, "imageTag": t} for t in tags] or [{"imageDigest": image.digest}]

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
            raise invalid(f"'resourceArn' failed to satisfy constraint: 'Invalid ARN' {arn}")
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

    def _whole(self, context: OperationContext, image: Image, tag: str | None) -> dict[str, Any]:
        image_id = {"imageDigest": image.digest}
        if tag:
            image_id["imageTag"] = tag
        return {
            "registryId": context.account_id,
            "repositoryName": image.repository,
            "imageId": image_id,
            "imageManifest": self._registry.body(image).decode(),
            "imageManifestMediaType": image.media_type,
        }


class _BadImageId(Exception):
    """One image of a batch that cannot be served; the others can."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(code)
        self.code = code
        self.reason = reason


def _check_image_id(image_id: ImageId) -> None:
    digest = image_id.get("imageDigest")
    if not digest and not image_id.get("imageTag"):
        raise _BadImageId("MissingDigestAndTag", "Invalid request parameters: both tag and digest cannot be null")
    if digest and not is_digest(digest):
        reason = "Invalid request parameters: image digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'"
        raise _BadImageId("InvalidImageDigest", reason)


def _failure(image_id: ImageId, error: AwsError | _BadImageId) -> dict[str, Any]:
    code, reason = (error.code, error.reason) if isinstance(error, _BadImageId) else _MISSING
    return {"imageId": dict(image_id), "failureCode": code, "failureReason": reason}


def _check_account(context: OperationContext, params: dict[str, Any]) -> None:
    """Another account's registry has none of ours."""
    asked = params.get("registryId") or context.account_id
    if asked != context.account_id:
        raise AwsError("RepositoryNotFoundException", f"The registry with id '{asked}' does not exist")


def _checked_json(member: str, text: str) -> str:
    try:
        if not isinstance(json.loads(text), dict):
            raise ValueError("not an object")
    except ValueError:
        raise invalid(f"'{member}' failed to satisfy constraint: 'Invalid JSON'") from None
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


def _list_key(image_id: ImageId) -> str:
    return f"{image_id['imageDigest']} {image_id.get('imageTag', '')}"

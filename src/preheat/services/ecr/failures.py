"""ECR's errors in AWS's own words; those not in the fidelity sheet are from answers quoted in public issues and in
LocalStack's own tests of ECR."""

from __future__ import annotations

from preheat.kernel.errors import AwsError
from preheat.services.ecr.models import ImageId


class Failures:
    """Most of the texts name the account."""

    def __init__(self, account_id: str) -> None:
        self._account_id = account_id

    def repository_exists(self, name: str) -> AwsError:
        text = f"The repository with name '{name}' already exists in the registry with id '{self._account_id}'"
        return AwsError("RepositoryAlreadyExistsException", text)

    def no_repository(self, name: str) -> AwsError:
        text = f"The repository with name '{name}' does not exist in the registry with id '{self._account_id}'"
        return AwsError("RepositoryNotFoundException", text)

    def repository_not_empty(self, name: str) -> AwsError:
        text = (
            f"The repository with name '{name}' in registry with id '{self._account_id}' cannot be deleted "
            "because it still contains images"
        )
        return AwsError("RepositoryNotEmptyException", text)

    def no_image(self, repository: str, image: ImageId) -> AwsError:
        digest, tag = image.get("imageDigest") or "null", image.get("imageTag") or "null"
        text = (
            f"The image with imageId {{imageDigest:'{digest}', imageTag:'{tag}'}} does not exist within the "
            f"repository with name '{repository}' in the registry with id '{self._account_id}'"
        )
        return AwsError("ImageNotFoundException", text)

    def image_exists(self, repository: str, digest: str, tag: str | None) -> AwsError:
        named = f"Image with digest '{digest}'" + (f" and tag '{tag}'" if tag else "")
        text = (
            f"{named} already exists in the repository with name '{repository}' "
            f"in registry with id '{self._account_id}'"
        )
        return AwsError("ImageAlreadyExistsException", text)

    def no_lifecycle_policy(self, name: str) -> AwsError:
        text = (
            f"Lifecycle policy does not exist for the repository with name '{name}' "
            f"in the registry with id '{self._account_id}'"
        )
        return AwsError("LifecyclePolicyNotFoundException", text)

    def no_repository_policy(self, name: str) -> AwsError:
        text = (
            f"Repository policy does not exist for the repository with name '{name}' "
            f"in the registry with id '{self._account_id}'"
        )
        return AwsError("RepositoryPolicyNotFoundException", text)

    def layers_missing(self, repository: str, digests: list[str]) -> AwsError:
        text = (
            f"Layers with digests '[{', '.join(digests)}]' required for pushing image into repository with name "
            f"'{repository}' in the registry with id '{self._account_id}' do not exist"
        )
        return AwsError("LayersNotFoundException", text)

    def images_missing(self, repository: str, digests: list[str]) -> AwsError:
        text = (
            f"Images with digests '[{', '.join(digests)}]' required for pushing image into repository with name "
            f"'{repository}' in the registry with id '{self._account_id}' do not exist"
        )
        return AwsError("ReferencedImagesNotFoundException", text)


def invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterException", f"Invalid parameter at {message}")


def tag_is_immutable(repository: str, tag: str) -> AwsError:
    text = (
        f"The image tag '{tag}' already exists in the '{repository}' repository and cannot be overwritten "
        "because the tag is immutable."
    )
    return AwsError("ImageTagAlreadyExistsException", text)


def digest_differs(given: str, computed: str) -> AwsError:
    text = f"The supplied image digest '{given}' does not match the calculated digest '{computed}' of the manifest"
    return AwsError("ImageDigestDoesNotMatchException", text)

"""What ECR says of one image of a batch that cannot be served, while the others can.

Codes: ECR API Reference, ImageFailure; words: LocalStack's own tests of ECR (test_batch_get_image and their like).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from preheat.oci.digest import is_digest
from preheat.services.ecr.models import ImageId


@dataclass(frozen=True, slots=True)
class Failure:
    code: str
    reason: str

    def of(self, image_id: ImageId) -> dict[str, Any]:
        """An element of an answer's `failures`."""
        return {"imageId": dict(image_id), "failureCode": self.code, "failureReason": self.reason}


NOT_FOUND = Failure("ImageNotFound", "Requested image not found")
WRONG_DIGEST = Failure(
    "ImageTagDoesNotMatchDigest", "Invalid request parameters: given tag does not map to the given digest"
)
_NEITHER = Failure("MissingDigestAndTag", "Invalid request parameters: both tag and digest cannot be null")
_NO_DIGEST = Failure(
    "InvalidImageDigest",
    "Invalid request parameters: image digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'",
)


def referenced(indexes: Sequence[str]) -> Failure:
    """An image stays while an index names it."""
    reason = f"Requested image referenced by manifest list: [{', '.join(indexes)}]"
    return Failure("ImageReferencedByManifestList", reason)


def malformed(image_id: ImageId) -> Failure | None:
    """Why this can mean no image; None where it can."""
    digest = image_id.get("imageDigest")
    if not digest and not image_id.get("imageTag"):
        return _NEITHER
    return _NO_DIGEST if digest and not is_digest(digest) else None

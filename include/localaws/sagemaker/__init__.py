"""SageMaker: training, tuning, processing and transform jobs that run, models, and a registry that forgets nothing.

Every operation named in `SERVED` is answered by a function of this package, `(place, request) -> answer`, both as the
API's shapes have them; of moto's SageMaker only the HTTP side is used.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from moto.core.resource_tagging import TaggedResource
from moto.core.responses import ActionResult
from moto.core.utils import camelcase_to_underscores
from moto.sagemaker import urls as moto_urls
from moto.sagemaker.models import SageMakerModelBackend, sagemaker_backends
from moto.sagemaker.responses import SageMakerResponse

from localaws.sagemaker import jobs, models, processing, registry, runs, tags, training, transform, tuning
from localaws.sagemaker.state import State

OPERATIONS: dict[str, Callable[[Any, dict[str, Any]], dict[str, Any]]] = {
    **training.OPERATIONS,
    **tuning.OPERATIONS,
    **processing.OPERATIONS,
    **transform.OPERATIONS,
    **models.OPERATIONS,
    **registry.OPERATIONS,
    **tags.OPERATIONS,
}

SERVED = frozenset(OPERATIONS)
"""The operations that this package answers; the server refuses all others."""


class SageMakerBackend(SageMakerModelBackend):
    """The state of one account and region: in `flywheel`, beside moto's own, which stays empty."""

    # moto derives the URLs' module from the class's own module, which is ours.
    _url_module = moto_urls

    def __init__(self, region_name: str, account_id: str):
        super().__init__(region_name, account_id)
        self.flywheel = State()

    def iter_tagged_resources(self) -> Iterator[TaggedResource]:
        """For the Resource Groups Tagging API."""
        for arn, found in self.flywheel.tags.items():
            kind = arn.split(":", 5)[-1].split("/", 1)[0]
            yield TaggedResource(arn=arn, tags=dict(found), resource_type=f"sagemaker:{kind}")

    def tag_resource(self, arn: str, tags: dict[str, str]) -> None:
        """Sets tags through the Resource Groups Tagging API."""
        OPERATIONS["AddTags"](
            self, {"ResourceArn": arn, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
        )

    def untag_resource(self, arn: str, tag_keys: list[str]) -> None:
        """Removes tags through the Resource Groups Tagging API."""
        OPERATIONS["DeleteTags"](self, {"ResourceArn": arn, "TagKeys": tag_keys})


class Response(SageMakerResponse):
    """moto's responses with ours in their place; the methods are made from `OPERATIONS`."""


def _method(operation: str) -> Callable[[Response], ActionResult]:
    def answer(self: Response) -> ActionResult:
        # Answers share nothing with the state: they are serialised after the lock is let go.
        request = copy.deepcopy(dict(self.params))
        return ActionResult(copy.deepcopy(OPERATIONS[operation](self.sagemaker_backend, request)))

    answer.__name__ = camelcase_to_underscores(operation)
    answer.__doc__ = f"Answers {operation}."
    return answer


for _operation in OPERATIONS:
    setattr(Response, camelcase_to_underscores(_operation), _method(_operation))


def install(root: Path) -> None:
    """Puts this SageMaker in the place of moto's; before the server's applications are built.

    :param root: the folder of the local AWS, below which jobs get theirs
    """
    # moto warns about each error code that botocore's model of the service does not list, such as UnsupportedOperation.
    warnings.filterwarnings("ignore", message=r"Exception\(SagemakerClientError\)")
    runs.use_root(root)
    sagemaker_backends.backend = SageMakerBackend
    moto_urls.url_paths["{0}/$"] = Response.dispatch


def recover() -> None:
    """After the saved state was loaded: jobs that were running are failed, for their processes are gone."""
    for regions in list(sagemaker_backends.values()):
        for backend in list(regions.values()):
            if isinstance(backend, SageMakerBackend):
                jobs.recover(backend)

"""Models, and what a transform job takes from one: the image, the artefact and the container's environment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from localaws import objects
from localaws.sagemaker import registry, state
from localaws.sagemaker.container import missing_image
from localaws.sagemaker.state import LOCK, Columns, Model, Place, invalid, refuse_unserved, unserved

OPERATION = "CreateModel"
SERVED_PARAMETERS = (
    "ModelName PrimaryContainer Containers ExecutionRoleArn Tags VpcConfig EnableNetworkIsolation".split()
)
SERVED_CONTAINER = "ContainerHostname Image Mode ModelDataUrl Environment ModelPackageName".split()


@dataclass(frozen=True)
class ServingContainer:
    """What it takes to serve a model."""

    image: str
    model_data_url: str | None
    environment: dict[str, str] = field(default_factory=dict)


def create_model(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """Makes a model from a container, or from a model package.

    :raises SagemakerClientError: ValidationException (name taken, artefact or image not found), UnsupportedOperation
    """
    refuse_unserved(OPERATION, request, SERVED_PARAMETERS)
    containers = request.get("Containers") or []
    if bool(containers) == bool(request.get("PrimaryContainer")):
        raise invalid("Exactly one of PrimaryContainer and Containers must be given")
    if len(containers) > 1:
        raise unserved(f"an inference pipeline (Containers with {len(containers)} items) of sagemaker:{OPERATION}")
    definition = request.get("PrimaryContainer") or containers[0]
    refuse_unserved(OPERATION, definition, SERVED_CONTAINER, "PrimaryContainer")
    if definition.get("Mode", "SingleModel") != "SingleModel":
        raise unserved(f"PrimaryContainer.Mode {definition['Mode']} of sagemaker:{OPERATION}")
    definition["Mode"] = "SingleModel"
    serving = serving_container(place, definition)
    if why := missing_image(serving.image):
        raise invalid(why)
    if serving.model_data_url:
        try:
            objects.object_path(serving.model_data_url)
        except (objects.NoSuchKey, ValueError) as error:
            raise invalid(f"Could not find model data at {serving.model_data_url}.") from error
    arn = state.arn(place, "model", request["ModelName"])
    with LOCK:
        if request["ModelName"] in place.flywheel.models:
            raise invalid(f'Cannot create already existing model "{arn}".')
        kept = {key: value for key, value in request.items() if key != "Tags"}
        place.flywheel.models[request["ModelName"]] = Model(request["ModelName"], arn, kept, state.now())
        place.flywheel.tags[arn] = state.tag_map(request.get("Tags"))
    return {"ModelArn": arn}


def describe_model(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """The model as it was made."""
    model = find_model(place, request["ModelName"])
    return {"EnableNetworkIsolation": False, **model.request, "ModelArn": model.arn, "CreationTime": model.created}


def list_models(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """Models by name and time."""
    columns: Columns[Model] = Columns(
        identity=lambda model: model.name,
        name=lambda model: model.name,
        created=lambda model: model.created,
        order="Descending",
    )
    with LOCK:
        found, token = state.page(place.flywheel.models.values(), request, columns)
    summaries = [{"ModelName": m.name, "ModelArn": m.arn, "CreationTime": m.created} for m in found]
    return {"Models": summaries, **state.described(NextToken=token)}


def delete_model(place: Place, request: dict[str, Any]) -> dict[str, Any]:
    """Removes the model; its artefact stays in S3."""
    with LOCK:
        model = find_model(place, request["ModelName"])
        del place.flywheel.models[model.name]
        place.flywheel.tags.pop(model.arn, None)
    return {}


def find_model(place: Place, name: str) -> Model:
    """The model of this name.

    :raises SagemakerClientError: ValidationException with AWS' text
    """
    model = place.flywheel.models.get(name)
    if model is None:
        raise invalid(f'Could not find model "{state.arn(place, "model", name)}".')
    return model


def serving_container(place: Place, definition: dict[str, Any]) -> ServingContainer:
    """The container of a definition, taken from its model package where it names one.

    :raises SagemakerClientError: it names neither an image nor a package, or the package cannot be served
    """
    environment = dict(definition.get("Environment") or {})
    if package_name := definition.get("ModelPackageName"):
        package = registry.find_package(place, package_name)
        containers = (package.fields.get("InferenceSpecification") or {}).get("Containers") or []
        if not containers:
            raise invalid(f"ModelPackage {package.arn} has no InferenceSpecification to make a model from.")
        if len(containers) > 1:
            raise unserved(f"an inference pipeline (model package with {len(containers)} containers)")
        inner = containers[0]
        environment = {**(inner.get("Environment") or {}), **environment}
        return ServingContainer(inner["Image"], inner.get("ModelDataUrl"), environment)
    if not definition.get("Image"):
        raise invalid("PrimaryContainer must have an Image or a ModelPackageName")
    return ServingContainer(definition["Image"], definition.get("ModelDataUrl"), environment)


OPERATIONS: dict[str, Callable[[Any, dict[str, Any]], dict[str, Any]]] = {
    "CreateModel": create_model,
    "DescribeModel": describe_model,
    "ListModels": list_models,
    "DeleteModel": delete_model,
}

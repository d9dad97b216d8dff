"""Takes the addresses of AWS's framework containers from the SageMaker SDK: `make images` writes plugins/flywheel/images.json.

The SDK cannot be installed beside Airflow 3, so the operators read this file. Needs the package ``sagemaker-core``.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

#: Framework to the version of its container; the jobs' environment has the same release of the framework.
CONTAINERS = {"xgboost": "3.2-0"}
IMAGES = Path(__file__).resolve().parents[2] / "plugins" / "flywheel" / "images.json"


def read_images() -> dict[str, dict[str, object]]:
    """Repository, tag and account by region of each container, as the SDK knows them.

    :raises KeyError: the SDK does not know the version
    """
    images: dict[str, dict[str, object]] = {}
    for framework, version in CONTAINERS.items():
        known = json.loads((resources.files("sagemaker.core") / "image_uri_config" / f"{framework}.json").read_text())
        found = known["training"]["versions"][version]
        images[framework] = {
            "repository": found["repository"],
            "tag": version,
            "registries": dict(sorted(found["registries"].items())),
        }
    return images


if __name__ == "__main__":
    IMAGES.write_text(json.dumps(read_images(), indent=2) + "\n", encoding="utf-8")
    print(f"wrote {IMAGES}")

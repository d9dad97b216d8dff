"""One trained model for all tests that only look at it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """The folder of a trained model (``model``) and its data (``train``)."""
    from small_model import snapshot, train_model

    folder = tmp_path_factory.mktemp("trained")
    train_model(folder, snapshot())
    return folder

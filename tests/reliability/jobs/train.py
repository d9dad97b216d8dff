"""The training job of the reliability tests: sleeps as long as it is told and leaves a model."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--seconds", type=float, required=True)
parser.add_argument("--x", type=float, default=0.5)
options, _ = parser.parse_known_args()
time.sleep(options.seconds)
print(f"objective={1 - (options.x - 0.3) ** 2}")
Path(os.environ["SM_MODEL_DIR"], "model.txt").write_text(f"{options.x}\n")

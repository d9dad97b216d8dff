"""The job of the reliability tests, as a Glue, EMR Serverless or processing script: sleeps as long as it is told."""

from __future__ import annotations

import argparse
import time

parser = argparse.ArgumentParser()
parser.add_argument("--seconds", type=float, required=True)
options, _ = parser.parse_known_args()
time.sleep(options.seconds)
print(f"slept {options.seconds} s")

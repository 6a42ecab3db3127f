"""Tries to get into a Ray cluster, as a colleague with the same programs would."""

import sys

import ray
from ray._raylet import GcsClient

address = sys.argv[1]
try:
    print("GcsClient: in,", GcsClient(address=address).internal_kv_keys(b"", None, 5))
except Exception as error:  # noqa: BLE001 - whatever keeps us out is the answer
    print("GcsClient:", type(error).__name__, error)
try:
    ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    print("ray.init: in,", ray.nodes())
except Exception as error:  # noqa: BLE001
    print("ray.init:", type(error).__name__)

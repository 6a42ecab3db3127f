"""A merger that does not end by itself within a test."""

import time

time.sleep(120)

"""Tests that need a program which is not here are skipped, and the summary says so."""

import os
import shutil

import pytest

os.environ["PATH"] += f"{os.pathsep}/usr/sbin{os.pathsep}/usr/local/sbin"  # where brokers are, and users' paths are not

NEEDS = {"mosquitto": ("mosquitto", "mosquitto_pub"), "nginx": ("nginx",), "kafka": ("go",)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for mark, programs in NEEDS.items():
        missing = [program for program in programs if not shutil.which(program)]
        if missing:
            skip = pytest.mark.skip(reason=f"NOT TESTED: {' and '.join(missing)} not installed")
            for item in items:
                if item.get_closest_marker(mark):
                    item.add_marker(skip)

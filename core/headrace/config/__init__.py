"""Configuration: files to a checked plan."""

from headrace.config.loader import Checked, check, identify, load
from headrace.config.problems import InvalidConfig, Problem
from headrace.config.show import effective, to_yaml

__all__ = ["Checked", "InvalidConfig", "Problem", "check", "effective", "identify", "load", "to_yaml"]

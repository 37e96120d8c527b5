"""Configuration: files to a checked plan."""

from headrace.config.loader import Checked, check, identify, load
from headrace.config.problems import InvalidConfig, Problem

__all__ = ["Checked", "InvalidConfig", "Problem", "check", "identify", "load"]

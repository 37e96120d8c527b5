"""What is asked of each built-in component, whatever it does; its own tests subclass the contract classes."""

from typing import Any

import pytest

from headrace.components import Component
from headrace.registry import KINDS, Registry
from headrace.testing.models import check_class, check_model

REGISTRY = Registry.discover()
COMPONENTS = [REGISTRY.find(kind, name) for kind in KINDS for name in REGISTRY.names(kind)]


def test_every_plugin_loads():
    assert [(row.name, row.error) for row in REGISTRY.rows if row.error] == []


@pytest.mark.parametrize("cls", COMPONENTS, ids=lambda cls: f"{cls.__mro__[1].__name__}-{cls.name}")
def test_a_component_is_complete_and_its_options_described_checked_and_constant(cls: type[Component[Any]]):
    check_class(cls)
    check_model(cls.Config)

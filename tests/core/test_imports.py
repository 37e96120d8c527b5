"""Every module can be the first one imported, in silence."""

import pkgutil
import subprocess
import sys

import pytest

import headrace
import headrace_plugins
from headrace.testing.models import check_import


def modules() -> list[str]:
    roots = (headrace, headrace_plugins)
    below = (name for root in roots for _, name, _ in pkgutil.walk_packages(root.__path__, f"{root.__name__}."))
    return sorted({"headrace", "headrace_plugins", *(name for name in below if not name.endswith("__main__"))})


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_alone_without_warnings_or_io(module: str):
    check_import(module)


def test_the_names_a_plugin_needs_come_without_the_engine():
    code = "import sys, headrace; print(sorted(m for m in sys.modules if m.startswith(('faust', 'aiohttp', 'ruamel'))))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"

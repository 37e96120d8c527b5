"""``python -m headrace.reference > docs/reference.md``."""

from headrace.reference import markdown
from headrace.registry import Registry

if __name__ == "__main__":
    print(markdown(Registry.discover()), end="")

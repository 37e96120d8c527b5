"""One description of every option, told in three ways: option tables, examples, and JSON Schema.

All of it comes from the models of the components that are there; ``python -m headrace.reference`` writes the page
``docs/reference.md`` for those that come with headrace.
"""

from headrace.reference.json_schema import schema
from headrace.reference.options import Option, example, options, summary
from headrace.reference.page import markdown

__all__ = ["Option", "example", "markdown", "options", "schema", "summary"]

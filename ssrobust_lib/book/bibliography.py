"""The style of the book's list of references, as an extension of Sphinx: alphabetical, family names first.

What enters: the application of Sphinx that renders the book. What leaves: the style `by_name` of pybtex, which the
book's configuration names. Text cites by author and year, so that a reader looks for a name; no part of the paper.
"""

from typing import Any

from pybtex.plugin import register_plugin
from pybtex.style.formatting.plain import Style

STYLE = "by_name"


class ByName(Style):
    """Sorted by family name, year and title, with the family name of each author first; numbers are not shown."""

    default_name_style = "lastfirst"
    default_sorting_style = "author_year_title"


def setup(app: Any) -> dict[str, bool]:
    """Make the style known to pybtex."""
    register_plugin("pybtex.style.formatting", STYLE, ByName)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

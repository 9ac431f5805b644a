"""Tables, built once as rows of text: for the console, for Markdown, and for the page.

`overview` chooses the tables of a set of runs; the others are one file a table.
"""

from results.format import NOTHING
from results.tables.table import Table

__all__ = ["NOTHING", "Table"]

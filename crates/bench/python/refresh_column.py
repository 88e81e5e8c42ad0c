"""Declares and refreshes a computed column with lancedb; prints the seconds of the second part.

Usage: refresh_column.py declare|refresh FOLDER TABLE COLUMN EXPRESSION
"""

import json
import sys
import time

import lancedb

what, folder, table, column, expression = sys.argv[1:]
started = time.perf_counter()
opened = lancedb.connect(folder).open_table(table)
if what == "declare":
    opened.add_columns(computed={column: expression})
else:
    opened.refresh_column(column)
print(json.dumps({"seconds": time.perf_counter() - started, "version": lancedb.__version__}))

"""The table: kind of file × kind of damage → the code that it ends with, and a piece of the message.

A line reads: what is wrong · how it is made (a function of `damages.py`, or the whole content) · `CODE: piece of the
message`. An error without a code is named by its kind. Where it is no error, `anew` says that the file is made again,
`different` that it reads as something else. Kinds are those of `file_kinds.py`. Lines of one kind stand together, lines
of several kinds at their head: files of ours in `damage_table_ours.py`, bundles in
`damage_table_bundle.py`, all others in `damage_table_others.py`; slides
have a table of their own, `hostile_slides.py`.
"""

import damage_table_bundle
import damage_table_others
import damage_table_ours
from damage_rows import Row

ROWS: list[Row] = [*damage_table_ours.ROWS, *damage_table_bundle.ROWS, *damage_table_others.ROWS]

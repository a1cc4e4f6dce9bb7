"""Names that a file or a table may hold, and that some medium takes for orders: one list for all tests of that."""

SLIDES = (
    "S12-345 [he]",
    "case[b]7 $x_1$",
    "=cmd|'calc'!A0",
    "\x1b[31mred\u202e",
    "<b>&'#?%41:;\"",
    "x" * 230,
    "日本 +1",
)
CLASSES = ("neg [/pos] $\\frac$", "@<i>_")
# No label has these, since it would be refused, but messages may.
LINES = ("@<i>\x1b[1m\u202e_", "two\nlines", "back\rover", "nul\0", "lone\udc80half")
ALL = (*SLIDES, *CLASSES, *LINES, "-", "+", "-5", "+ve", "-1+SUM(A1)", "\t=x", "'=x", "'", "_hidden", ":smile:", "日本")


def is_plain(text: str) -> bool:
    """Whether a terminal obeys nothing in it: no control character but line breaks, no mark of direction."""
    return all(character == "\n" or character.isprintable() for character in text)

"""The frame of every HTML page that sammil writes, and what text and links must be to stand in one."""

import html
import os
from urllib.parse import quote

from sammil_cli.storage.shown_text import shown

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.3rem .9rem;border-bottom:1px solid #d5dae0;text-align:right}
th:first-child,td:first-child{text-align:left}figure{display:inline-block;margin:.5%;width:32%;min-width:18rem}figcaption{text-align:center}
.note{color:#57606a}.warning{background:#fff4d6;border-left:4px solid #d4a100;padding:.4rem .8rem}
td{white-space:nowrap}
.stamped td:last-child{white-space:normal;text-align:left;font-size:.75rem;line-height:1.2}img{max-width:100%}
"""


def escaped(text: str) -> str:
    """Text for a page, between tags or in an attribute; what nobody sees is written out."""
    return html.escape(shown(text))


def address(file_name: str) -> str:
    """The link, for an attribute, to a file beside the page, whatever its name: `#`, `?`, `%` and `:` mean nothing."""
    return html.escape(quote(os.fsencode(file_name)))


def document(title: str, body: str) -> str:
    """A whole HTML document; `body` is HTML."""
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{escaped(title)}</title>"
        f"<meta name='viewport' content='width=device-width'><style>{_STYLE}</style></head><body>{body}</body></html>\n"
    )

"""The tables of docs/encoders.md, made of the rows; written anew by `make project-files`.

How long an encoder takes is in benchmarks/encoder_seconds.json: a processor in words, and seconds by word.
"""

import re
from pathlib import Path

from sammil_cli.features.encoder_row import FOLDER, EncoderRow, encoder_row
from sammil_cli.storage.guarded_json import read_json

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/encoders.md"
SECONDS = ROOT / "benchmarks/encoder_seconds.json"
_ALLOWED = {True: "yes", False: "no", None: "see below"}
_OF_ALL = ("revision and sha256: from a peer", "mpp: a convention")  # said once, above the list


def rows() -> list[EncoderRow]:
    return [encoder_row(path.stem) for path in sorted(FOLDER.glob("*.json"))]


def facts() -> list[str]:
    """One line for each encoder."""
    took = read_json(SECONDS)["seconds"]
    lines = [
        "| word | is | licence | commercial use | access | dim | µm/px | patch → input px | parameters | s per 1000 |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows():
        mpp = "–" if row.mpp.value is None else f"{row.mpp.value:g}{'*' if row.mpp.from_ == 'convention' else ''}"
        cells = (
            f"`{row.word}`",
            f"[{row.title}]({row.source.page}): {row.about}",
            row.licence.name,
            _ALLOWED[row.licence.commercial],
            row.access,
            str(row.dim) if not row.poolings else f"{row.dim} ({', '.join(_others(row))})",
            mpp,
            f"{row.patch_px} → {row.preparation.input_px}",
            f"{row.parameters.count / 1e6:,.0f} M",
            f"{took[row.word]:g}" if row.word in took else "–",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _others(row: EncoderRow) -> list[str]:
    return [f"{one}: {row.dim_with(one)}" for one in row.poolings]


def doubts() -> list[str]:
    """What is not certain of each encoder beyond what is said of all; notes on licences."""
    lines = []
    for row in rows():
        said = [one for one in row.unverified if not one.startswith(_OF_ALL)]
        said += [f"licence: {row.licence.note}"] if row.licence.note else []
        lines += [f"- `{row.word}`: {'; '.join(said)}."] if said else []
    return lines


def with_tables(page: str) -> str:
    """The page with its tables anew, each between two comments."""
    for name, lines in (("facts", facts()), ("doubts", doubts())):
        start, end = f"<!-- {name}: made by make project-files -->\n", f"<!-- end of {name} -->"
        page = re.sub(
            f"{re.escape(start)}.*?{end}",
            lambda _, s=start, e=end, b=lines: s + "\n".join(b) + "\n" + e,
            page,
            flags=re.DOTALL,
        )
    return page


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

"""What the pages list of a project: its errors, what earlier stages said of slides, what was set aside and why."""

import csv
import re
from pathlib import Path

from csv_rows import rows_of

from sammil_cli.config import EvaluateSettings
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.stages import evaluate
from sammil_cli.stages.slides_index import write_index

HEADER = ["slide_id", "status", "code", "message", "remedy", "seconds", "remarks"]


def add_rows(stage: str, *rows: tuple[str, ...]) -> None:
    with Path(f"artifacts/process_lists/{stage}.csv").open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def table(page: str, title: str) -> list[list[str]]:
    """The rows of the table below a title."""
    body = page.split(f">{title}", 1)[1].split("<tbody>", 1)[1].split("</tbody>", 1)[0]
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in body.split("</tr>")[:-1]]
    return [[re.sub("<[^>]*>", "", cell) for cell in row] for row in cells]


def test_the_report_lists_every_slide_with_its_flags_and_what_was_set_aside(done: Path) -> None:
    add_rows("segment", ("cut", "set-aside", "E_OPEN", "no slide", "copy it again", "0.1", ""))
    add_rows("patch", ("cut", "set-aside", "E_UPSTREAM", "no tissue", "see segment", "0.1", ""))
    add_rows("patch", ("slide_0", "done", "", "", "", "0.1", "grid 9 → kept 7; pen: 1% of the slide"))
    evaluate.run(Project(), EvaluateSettings(bootstrap_draws=100), RunOptions())
    page = Path("report/index.html").read_text(encoding="utf-8")
    slides = table(page, "Slides</h2>")
    said = {row["slide_id"]: row for row in rows_of(Path("runs/predictions.csv"))}
    assert {row[0] for row in slides} == said.keys()
    for row in slides:
        assert row[2:5] == [(own := said[row[0]])["label"], own["predicted"], row[4]]
        assert row[4] == ("right" if own["label"] == own["predicted"] else "wrong")
    assert [row[4] for row in slides] == sorted((row[4] for row in slides), reverse=True)
    (flagged,) = (row for row in slides if row[0] == "slide_0")
    assert "pen: 1% of the slide" in flagged[-1]
    assert "grid 9" not in page
    assert table(page, "Not judged: 1") == [["cut", "E_OPEN", "no slide", "copy it again"]]


def test_pictures_stand_with_the_verdicts_of_their_models_and_of_no_others(done: Path) -> None:
    add_rows("visualize", ("slide_9", "failed", "E_MEMORY", "too large", "give it more", "0.1", ""))
    write_index(Project(), None)
    page = Path("report/slides/index.html").read_text(encoding="utf-8")
    row = next(iter(rows_of(Path("runs/predictions.csv"))))
    assert f"truth {row['label']} · called {row['predicted']}" in page
    assert table(page, "Not drawn: 1") == [["slide_9", "E_MEMORY", "too large", "give it more"]]
    drawn = Path("report/slides/drawn.js").read_text(encoding="utf-8")
    assert all(f'"slide_{number}"' in drawn for number in range(6))
    write_index(Project(), None)
    assert Path("report/slides/index.html").read_text(encoding="utf-8") == page
    predictions = Path("runs/predictions.csv")
    text = predictions.read_text(encoding="utf-8")
    predictions.write_text(text.replace(row["threshold"], "0.987"), encoding="utf-8")  # of models trained before
    write_index(Project(), None)
    other = Path("report/slides/index.html").read_text(encoding="utf-8")
    assert "truth " not in other
    assert "To the report" not in other
    assert len(table(other, "Slides: 6")) == 6

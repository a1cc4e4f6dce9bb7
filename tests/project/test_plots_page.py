"""The page of `dvc plots`: it fetches nothing, and draws what DVC hands it."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from dvc_render import VegaRenderer, render_html

from sammil_cli.project.plots_page import NAME, set_up_plots

# A little of a browser: runs the scripts of a page and says what they drew.
BROWSER = """
const fs = require("fs"), vm = require("vm"), places = {};
function node(name) {
  return { name, attributes: {}, children: [], textContent: "",
    setAttribute(key, value) { this.attributes[key] = value; }, appendChild(child) { this.children.push(child); } };
}
const page = fs.readFileSync(process.argv[2], "utf8");
const scripts = [...page.matchAll(/<script[^>]*>([^]*?)<\\/script>/g)].map((found) => found[1]);
const find = (selector) => (places[selector] = places[selector] || node("div"));
const scope = vm.createContext({ document: { createElementNS: (_, name) => node(name), querySelector: find } });
for (const script of scripts) vm.runInContext(script, scope);
console.log(JSON.stringify(places));
"""


@pytest.fixture
def template(tmp_path: Path) -> Path:
    set_up_plots(tmp_path)
    return tmp_path / NAME


def drawn(template: Path, /, rows: list[dict[str, object]], **properties: object) -> dict[str, list[dict[str, Any]]]:
    """What the page draws of one plot of DVC's: element name -> its elements."""
    page = template.parent / "out" / "index.html"
    render_html([VegaRenderer(rows, "plot", **properties)], page, template)
    assert (
        re.findall(r"(?:src|href)\s*=|https?://(?!www\.w3\.org/2000/svg|vega\.github\.io/schema)", page.read_text())
        == []
    )
    if shutil.which("node") is None:
        pytest.skip("node, which runs the page's script, is not here")
    (template.parent / "browser.js").write_text(BROWSER)
    said = subprocess.run(
        ["node", template.parent / "browser.js", page], capture_output=True, text=True, check=True, timeout=60
    )
    found: dict[str, list[dict[str, Any]]] = {}
    left = list(json.loads(said.stdout).values())
    while left:
        one = left.pop(0)
        found.setdefault(one["name"], []).append(one)
        left += one["children"]
    return found


def texts(found: dict[str, list[dict[str, Any]]]) -> list[object]:
    return [one["textContent"] for one in found["text"]]


def test_the_page_is_drawn_without_a_network(template: Path) -> None:
    page = template.read_text(encoding="utf-8")
    assert "{scripts}" not in page  # where DVC would name the library that a browser has to fetch
    assert "{plot_divs}" in page


def test_a_scatter_has_a_point_for_each_run_and_names_it(template: Path) -> None:
    rows = [{"value": "0.3", "val.auc": "0.8", "run": "<b>one", "rev": "workspace"}]
    rows += [{"value": "0.7", "val.auc": "0.9", "run": "two", "rev": "workspace"}]
    rows += [{"value": "0.9", "val.auc": "", "run": "nothing to draw", "rev": "workspace"}]
    found = drawn(template, rows, x="value", y="val.auc", template="scatter", title="a sweep")
    assert [one["textContent"] for one in found["title"]] == [
        "<b>one: value 0.3, val.auc 0.8",
        "two: value 0.7, val.auc 0.9",
    ]
    (left, low), (right, high) = ([float(one["attributes"][at]) for at in ("cx", "cy")] for one in found["circle"])
    assert left < right
    assert low > high  # from the top
    assert {"a sweep", "value", "val.auc", "workspace"} <= set(texts(found))
    assert "polyline" not in found


def test_curves_have_a_line_and_a_colour_for_each_experiment(template: Path) -> None:
    rows = [{"epoch": str(x), "auc": str(x / 4), "rev": rev} for rev in ("main", "noble-ziti") for x in (2, 0, 1)]
    found = drawn(template, rows, x="epoch", y="auc")
    assert len(found["polyline"]) == len({one["attributes"]["stroke"] for one in found["polyline"]}) == 2
    places = [float(pair.split(",")[0]) for pair in found["polyline"][0]["attributes"]["points"].split()]
    assert places == sorted(places)


def test_confusion_counts_by_experiment(template: Path) -> None:
    pairs = [("normal", "normal"), ("normal", "tumour"), ("tumour", "tumour"), ("tumour", "tumour")]
    rows = [{"actual": a, "predicted": p, "rev": rev} for rev in ("main", "other") for a, p in pairs]
    found = drawn(template, rows, x="actual", y="predicted", template="confusion")
    assert [text for text in texts(found) if str(text).isdigit()] == 2 * list("1102")


def test_no_numbers_and_no_axes_are_said(template: Path) -> None:
    found = drawn(template, [{"a": "x", "b": "y", "rev": "main"}], x="a", y="b")
    assert "no numbers" in texts(found)


def test_a_config_keeps_what_it_says_and_a_template_of_the_users_own(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("[core]\n    remote = shelf\n[plots]\n    auto_open = true\n")
    set_up_plots(tmp_path)
    assert config.read_text() == (
        f"[core]\n    remote = shelf\n[plots]\n    html_template = {NAME}\n    auto_open = true\n"
    )
    once = config.read_text()
    set_up_plots(tmp_path)
    assert config.read_text() == once
    (tmp_path / NAME).unlink()
    config.write_text("[plots]\n    html_template = mine.html\n")
    set_up_plots(tmp_path)
    assert not (tmp_path / NAME).exists()


def test_a_config_whose_last_line_does_not_end_stays_whole(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("['remote \"shared\"']\n    url = /archive", encoding="utf-8")
    set_up_plots(tmp_path)
    assert (tmp_path / "config").read_text(encoding="utf-8").splitlines()[1:] == [
        "    url = /archive",
        "[plots]",
        f"    html_template = {NAME}",
    ]

"""The page of predictions: errors first, names escaped, nothing from the network."""

import html.parser

from sammil_cli.report.verdicts_page import SlideLine, Trouble, verdicts_page

EVIL = "<script>alert('x')</script>"


class Seen(html.parser.HTMLParser):
    """The tags of a page, and where it leads."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.links = list[str](), list[str]()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]


def line(slide_id: str, picture: str | None = None, evidence: str | None = None) -> SlideLine:
    verdict = {"predicted": "tumour", "P(tumour)": "0.9"}
    return SlideLine(slide_id=slide_id, verdict=verdict, remarks=["few-regions: 3"], picture=picture, evidence=evidence)


def test_what_was_not_judged_stands_before_what_was() -> None:
    trouble = Trouble(slide_id="bad", code="E_MPP", message="no resolution", remedy="give it")
    page = verdicts_page("t", ["a note", "!a warning"], [trouble], [line("good")])
    assert page.index("Not judged: 1") < page.index("E_MPP") < page.index("Slides: 1") < page.index("good")
    assert "class='warning'>a warning" in page
    assert "few-regions: 3" in page


def test_names_are_escaped_wherever_they_stand_and_links_lead_to_files_beside_the_page() -> None:
    name = EVIL + "#%?"
    page = verdicts_page(
        "t",
        [EVIL],
        [Trouble(slide_id=EVIL, code="E", message=EVIL, remedy=EVIL)],
        [line(name, f"slides/{name}.png".replace("/s", "/s"), "evidence/a b.geojson")],
        [{"patient_id": EVIL, "slides": 2}],
    )
    seen = Seen(page)
    assert "script" not in seen.tags
    assert "evidence/a%20b.geojson" in seen.links
    assert not any(link.startswith(("http", "//")) for link in seen.links)


def test_a_slide_without_a_picture_says_so() -> None:
    page = verdicts_page("t", [], [], [line("a"), line("b", "slides/b.png", "evidence/b.geojson")])
    assert Seen(page).links == ["evidence/b.geojson", "slides/b.csv", "slides/b.png", "slides/b.png"]

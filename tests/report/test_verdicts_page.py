"""The page of predictions: errors first, names escaped, nothing from the network."""

import html.parser

from sammil_cli.report.listing import listing
from sammil_cli.report.slide_rows import Picture, SlideRow, Trouble
from sammil_cli.report.verdicts_page import verdicts_page

EVIL = "<script>alert('x')</script>"


class Seen(html.parser.HTMLParser):
    """The tags of a page, where it leads, and its text without scripts and style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.links, self.text = list[str](), list[str](), ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.text += "" if self.tags[-1:] in (["style"], ["script"]) else data


def row(name: str, patient: str = "") -> SlideRow:
    more = {"over models": "0.8–0.9"}
    remarks = ["few-regions: 3"]
    return SlideRow(name=name, patient=patient, called="tumour", probability="0.9", more=more, remarks=remarks)


def picture(name: str, **files: str) -> Picture:
    return Picture(name=name, path=f"slides/{name}.png", size=(640, 480), files=files)


def test_what_was_not_judged_stands_before_what_was() -> None:
    trouble = Trouble(slide_id="bad", code="E_MPP", message="no resolution", remedy="give it")
    page = verdicts_page("t", ["a note", "!a warning"], [trouble], [row("good")], positive_class="tumour")
    text = Seen(page).text
    assert text.index("Not judged: 1") < text.index("E_MPP") < text.index("Slides: 1") < text.index("good")
    assert '<p class="warning">a warning</p>' in page
    assert "few-regions: 3" in text
    assert "P(tumour)" in text


def test_names_are_escaped_wherever_they_stand_and_links_lead_to_files_beside_the_page() -> None:
    name = EVIL.replace("/s", "s") + "#%?"
    page = verdicts_page(
        EVIL,
        [EVIL, f"!{EVIL}"],
        [Trouble(slide_id=EVIL, code=EVIL, message=EVIL, remedy=EVIL)],
        [row(name, EVIL)],
        [picture(name, patches="slides/a b.csv", **{EVIL: "evidence/a b.geojson"})],
        patients=listing([row(EVIL)], EVIL, of="patients"),
        positive_class=EVIL,
    )
    seen = Seen(page)
    assert seen.tags.count("script") == 1  # the page's own
    assert page.count("alert(") == page.count("alert(&#39;x") > 10
    assert "evidence/a%20b.geojson" in seen.links
    assert not any(link.startswith(("http", "//")) for link in seen.links)


def test_a_slide_leads_to_its_picture_and_one_without_is_plain_text() -> None:
    page = verdicts_page("t", [], [], [row("a"), row("b c")], [picture("b c", patches="slides/b c.csv")])
    assert Seen(page).links == ["#b%20c", "slides/b%20c.csv", "slides/b%20c.png", "slides/b%20c.png"]
    assert 'id="b%20c"' in page
    assert 'width="640" height="480"' in page


def test_columns_that_would_be_empty_are_left_out() -> None:
    titles = [column.title for column in listing([row("a")], "tumour").columns]
    assert titles == ["slide", "predicted", "P(tumour)", "over models", "remarks"]

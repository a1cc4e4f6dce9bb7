"""The pages as people use them: sorted, filtered, searched, by keyboard, on any screen, in the dark, on paper."""

import re
from pathlib import Path
from typing import Any

import pytest
from made_up_pages import HOSTILE, ODD, UNDRAWN

pytestmark = pytest.mark.browser

PAGES = ("report/index.html", "report/slides/index.html", "verdicts/index.html")
SLIDES = "table[aria-labelledby=slides]"
FORM = "form[aria-labelledby=slides]"
every_page = pytest.mark.parametrize("page", PAGES)


def names(page: Any) -> list[str]:
    """The slides of the table that are seen, from top to bottom."""
    return page.locator(f"{SLIDES} tbody tr:not([hidden]) th").all_inner_texts()


def column(page: Any, title: str) -> list[str]:
    """What stands in a column of the rows that are seen."""
    titles = page.locator(f"{SLIDES} thead th").all_inner_texts()
    place = titles.index(title) + 1
    return page.locator(f"{SLIDES} tbody tr:not([hidden]) > :nth-child({place})").all_inner_texts()


def test_errors_come_first_the_surest_on_top_and_a_click_sorts_up_down_and_back(visit: Any) -> None:
    page = visit("small/report/index.html")
    written = names(page)
    assert column(page, "outcome") == ["wrong", "wrong", *["right"] * 22]
    sure = [abs(float(text) - 0.5) for text in column(page, "P(tumour)")[:2]]
    assert sure == sorted(sure, reverse=True)
    head = page.locator(f"{SLIDES} thead th", has_text="P(tumour)")
    for state, reverse in (("ascending", False), ("descending", True)):
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == state
        shown = [float(text) for text in column(page, "P(tumour)")]
        assert shown == sorted(shown, reverse=reverse)
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") is None
    assert names(page) == written


def test_search_and_menus_narrow_the_table_say_how_far_and_let_go(visit: Any) -> None:
    page = visit("large/report/index.html")
    count = page.locator(f"{FORM} [role=status]")
    page.locator(FORM).get_by_label("outcome").select_option(label="wrong")
    assert set(column(page, "outcome")) == {"wrong"}
    assert count.inner_text() == "50 of 500 slides"
    page.locator(FORM).get_by_label("truth").select_option(label="tumour")
    page.locator(FORM).get_by_label("search").fill("SLIDE_02 pen")
    assert names(page) == ["slide_027"]
    assert column(page, "truth") == ["tumour"]
    page.locator(FORM).get_by_role("button", name="Show all").click()
    page.wait_for_function("document.querySelector('form[aria-labelledby=slides] p').textContent.startsWith('500')")
    page.locator(FORM).get_by_label("remarks").select_option(label="with")
    assert len(names(page)) == 167
    assert all("pen" in text for text in column(page, "remarks"))


def test_the_keyboard_alone_sorts_and_filters_and_one_sees_where_it_is(visit: Any) -> None:
    page = visit("small/report/index.html")
    page.locator(f"{SLIDES} thead button").first.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    head = page.locator(f"{SLIDES} thead th").nth(1)
    assert head.get_attribute("aria-sort") == "ascending"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.locator(FORM).get_by_label("search").focus()
    page.keyboard.type("slide_007")
    page.keyboard.press("Enter")  # sends no form
    assert names(page) == ["slide_007"]


def test_each_slide_leads_to_its_picture_and_one_that_is_not_drawn_leads_nowhere(visit: Any) -> None:
    page = visit("small/report/index.html")
    links = page.locator(f"{SLIDES} tbody th a")
    assert set(names(page)) - set(links.all_inner_texts()) == {HOSTILE, UNDRAWN}
    for name in (ODD, "slide_012"):
        page.goto(page.url.split("#")[0])
        page.get_by_role("link", name=name, exact=True).click()
        page.wait_for_url("**/slides/index.html#*")
        assert page.locator("figure:target h3").inner_text() == name
        assert page.locator("figure:target").bounding_box()["y"] < 900
        page.go_back()


def test_before_the_pictures_are_drawn_no_slide_leads_anywhere(visit: Any, pages: Path) -> None:
    alone = pages / "alone.html"
    alone.write_bytes((pages / "small/report/index.html").read_bytes())
    page = visit("alone.html")
    assert len(names(page)) == 24
    assert page.locator(f"{SLIDES} a").count() == 0


def test_names_are_text_wherever_they_stand(visit: Any) -> None:
    for path in PAGES:
        page = visit(f"small/{path}")
        assert {HOSTILE, ODD} <= set(names(page))
        page.locator(FORM).get_by_label("search").fill("onerror")
        assert len(names(page)) == 2
        assert page.evaluate("window.hacked") is None
        assert page.locator("img[src=x]").count() == 0


@every_page
def test_without_scripts_the_page_is_a_plain_table_and_all_there(visit: Any, page: str) -> None:
    plain = visit(f"small/{page}", java_script_enabled=False)
    assert len(names(plain)) == 24
    assert plain.locator("form, button").count() == 0


def test_pictures_follow_the_table_keep_their_place_and_load_when_they_are_seen(visit: Any) -> None:
    page = visit("large/report/slides/index.html")
    loaded = "[...document.images].filter((one) => one.complete && one.naturalWidth).length"
    assert page.evaluate(loaded) < 60
    last = page.locator("figure img").last
    before = last.bounding_box()
    assert before["height"] == pytest.approx(before["width"] * 300 / 720, abs=1)
    last.scroll_into_view_if_needed()
    page.wait_for_function("[...document.images].at(-1).naturalWidth === 720")
    assert last.bounding_box()["height"] == before["height"]
    page.locator(FORM).get_by_label("search").fill("slide_12")
    shown = page.locator("figure:not([hidden]) h3").all_inner_texts()
    assert shown == names(page)
    page.locator(f"{SLIDES} thead button").first.click()
    page.locator(f"{SLIDES} thead button").first.click()
    assert page.locator("figure:not([hidden]) h3").all_inner_texts() == names(page) == sorted(shown, reverse=True)


@every_page
def test_no_page_scrolls_sideways_on_any_screen(visit: Any, page: str) -> None:
    seen = visit(f"small/{page}")
    for width in (360, 768, 1280, 2560):
        seen.set_viewport_size({"width": width, "height": 900})
        assert seen.evaluate("document.documentElement.scrollWidth") <= width


@every_page
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(visit: Any, page: str, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(visit(f"small/{page}", color_scheme=scheme)).response
    assert len(found["passes"]) > 15
    grave = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in grave] == []


def test_on_paper_heads_stand_on_every_page_and_names_with_their_pictures(visit: Any, tmp_path: Path) -> None:
    import pypdfium2

    visit("small/report/slides/index.html", color_scheme="dark").pdf(path=tmp_path / "a.pdf", format="A5")
    with pypdfium2.PdfDocument(tmp_path / "a.pdf") as document:
        texts, pictures = [], []
        for sheet in document:
            texts.append(re.sub(r"\s+", " ", sheet.get_textpage().get_text_range()))
            pictures.append(sum(one.type == pypdfium2.raw.FPDF_PAGEOBJ_IMAGE for one in sheet.get_objects()))
    assert sum(pictures) == 22
    # Below each name stands a line that begins with the truth.
    assert [len(re.findall(r"truth (?:normal|tumour) ·", text)) for text in texts] == pictures
    (first,) = (place for place, text in enumerate(texts) if "Pictures: 22" in text)
    assert pictures[first] > 0
    with_rows = [text for text in texts if re.search(r"P\d{3} (?:normal|tumour) (?:normal|tumour) right", text)]
    assert len(with_rows) > 1
    assert all("slide patient truth decision outcome" in text for text in with_rows)
    assert not any("Show all" in text or "search" in text for text in texts)


def test_the_report_of_500_slides_is_below_a_megabyte(pages: Path) -> None:
    for page in PAGES:
        assert (pages / "large" / page).stat().st_size < 1_000_000, page

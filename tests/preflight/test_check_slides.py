"""sammil check: slides, slides.csv and drawings; what is printed, and the exit code."""

import json
import time
from pathlib import Path

import pytest
from checked_cohort import GOOD, SLIDES, Place, changed, checked, errors, put, write
from typer.testing import CliRunner

from sammil_cli.cli.app import app
from sammil_cli.preflight.check import as_record, report


@pytest.mark.parametrize(
    ("rows", "severity", "message"),
    [
        ("s_07,tumour,P1\ns_08,normal,P2\n", "error", "the label 'normal' here and 'tumour' in row 8"),
        ("s_07,tumour,P1\ns_08,tumour,P2\n", "error", "another patient's: folds would share it"),
        ("s_07,tumour,P1\ns_08,tumour,P1\n", "warning", "'s_08' is the same file as 's_07'"),
    ],
)
def test_one_slide_under_two_names_is_found(cohort: Path, rows: str, severity: str, message: str) -> None:
    put("s_07", "s_08", content=b"the same" * 2000)
    write(GOOD + rows)
    (finding,) = [f for f in checked().findings if f.kind == "same-slide"]
    assert (finding.severity, finding.row) == (severity, 9)
    assert message in finding.message


def test_scenes_of_one_file_under_two_names_are_two_slides(cohort: Path) -> None:
    put("s_07", "s_08", content=b"the same" * 2000)
    write(GOOD + "s_07,tumour,P1\ns_08,normal,P1\n")
    Path("data/slides.csv").write_text("slide_id,scene\ns_07,1\ns_08,2\n")
    assert [f.kind for f in checked().findings if f.kind == "same-slide"] == []
    Path("data/slides.csv").write_text("slide_id,scene\ns_07,2\ns_08,2\n")
    assert [f.kind for f in checked().findings if f.kind == "same-slide"] == ["same-slide"]


def test_every_scene_that_is_no_number_is_found(cohort: Path) -> None:
    Path("data/slides.csv").write_text("slide_id,scene\ns_01,core A\ns_02,1\ns_03,0\n")
    found = [(f.kind, f.row, f.column, f.text) for f in checked().findings]
    assert found == [("scene", 2, "scene", "core A"), ("scene", 4, "scene", "0")]


def test_a_relative_link_to_the_slides_is_a_warning_under_dvc(cohort: Path) -> None:
    slides = Path("data/slides")
    slides.rename("archive")
    slides.symlink_to("../archive")
    assert checked().findings == ()
    Path(".dvc").mkdir()
    (finding,) = checked().findings
    assert (finding.kind, finding.severity) == ("slide-link", "warning")
    assert finding.fix == f"ln -sfn {cohort / 'archive'} data/slides"


def test_slides_of_one_size_and_other_content_are_two(cohort: Path) -> None:
    put("s_07", content=b"II*\0" + b"a" * 9000)
    put("s_08", content=b"II*\0b" + b"a" * 8999)
    assert {f.kind for f in checked().findings} == {"no-label"}


def test_files_that_are_no_slides_and_names_too_long_are_errors(cohort: Path) -> None:
    put("s_02", content=b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 48\n")
    put("s_03", content=b"<!DOCTYPE html><title>Sign in</title>")
    put("é" * 125)
    found = {f.text: f for f in checked().findings if f.kind != "no-label"}
    assert {text: f.kind for text, f in found.items()} == {
        "s_02": "no-slide-content",
        "s_03": "no-slide-content",
        "é" * 125: "long-name",
    }
    assert all(f.severity == "error" for f in found.values())
    assert (found["s_02"].fix, "'Sign in'" in found["s_03"].message) == ("run: git lfs pull", True)
    assert "its name has 250 bytes" in found["é" * 125].message
    assert checked().ready == 4


@pytest.mark.parametrize("text", ["slide_id;mpp\ns_01;0,5\n", "sep=;\nslide_id;mpp\ns_01;0.5\n"])
def test_a_table_of_slides_with_semicolons_is_named_once(cohort: Path, text: str) -> None:
    write(text, "data/slides.csv")
    found = [f for f in errors(checked()) if f.kind in ("separator", "slides-table")]
    assert [f.kind for f in found] == ["separator"]
    assert "separated by semicolons" in found[0].message
    assert "with commas" in found[0].fix


def test_files_of_slides_are_looked_at_by_name_and_size(cohort: Path) -> None:
    put("s_01", suffix=".tif")
    put("empty", content=b"")
    put("a,b", "S_06")
    put("s_02", suffix=".png")
    found = {f.kind: f for f in checked().findings if f.kind != "no-label"}
    assert set(found) == {"same-id", "empty-slide", "slide-name", "look-alike"}
    assert "s_01.svs, s_01.tif" in found["same-id"].message
    assert found["slide-name"].text == "a,b"


def test_no_folder_of_slides_is_an_error_unless_there_are_bags(cohort: Path) -> None:
    for path in Path("data/slides").iterdir():
        path.unlink()
    Path("data/slides").rmdir()
    assert [f.kind for f in errors(checked())] == ["slide-folder"]
    Path("artifacts/bags").mkdir(parents=True)
    for name in SLIDES:
        Path("artifacts/bags", f"{name}.h5").touch()
    assert checked().findings == ()
    assert checked().ready == 6


def test_what_is_passed_over_is_told_and_a_folder_named_as_a_slide_is_none(cohort: Path) -> None:
    Path("data/slides/gone.svs").symlink_to("nowhere.svs")
    Path("data/slides/folder.svs").mkdir()
    Path("data/slides/scan.vsi").touch()
    assert [(f.severity, f.kind, f.message) for f in checked().findings] == [
        ("warning", "unsupported", "1 file passed over: dangling link"),
        ("warning", "unsupported", "1 file passed over: .vsi"),
    ]


@pytest.mark.parametrize(
    ("row", "place", "message", "fix"),
    [
        ('s_01,"0,25"', ("mpp", 2, "mpp"), "decimal comma", "write 0.25"),
        ("s_01,0,25", ("mpp", 2, "mpp"), "decimal comma", "write 0.25"),
        ("s_01,0.25 µm", ("mpp", 2, "mpp"), "is no number", "write 0.25"),
        ("s_01,250", ("mpp", 2, "mpp"), "nanometres", "write 0.25"),
        ("s_01,40", ("mpp", 2, "mpp"), "objective", "about 0.25"),
        ("s_01,-1", ("mpp", 2, "mpp"), "no positive number", "0.25"),
        ("s_01,inf", ("mpp", 2, "mpp"), "no positive number", "0.25"),
        ("s_01,nan", ("mpp", 2, "mpp"), "no positive number", "0.25"),
        ("s_1,0.25", ("near-id", 2, "slide_id"), "leading zeros", "write s_01"),
        ("s_02,0.5\ns_02,0.5", ("duplicate", 3, "slide_id"), "stands in row 2 already", "keep one"),
        (",0.5", ("empty", 2, "slide_id"), "is empty", "file's name"),
    ],
)
def test_a_wrong_row_of_slides_csv_is_told_once(cohort: Path, row: str, place: Place, message: str, fix: str) -> None:
    write(f"slide_id,mpp\n{row}\n", "data/slides.csv")
    (finding,) = errors(checked())
    assert (finding.kind, finding.row, finding.column) == place
    assert message in finding.message
    assert fix in finding.fix


def test_unusual_resolutions_and_rows_of_no_slide_are_warnings(cohort: Path) -> None:
    write("slide_id,mpp\ns_01,7.3\nnobody,0.5\n", "data/slides.csv")
    assert [(f.severity, f.kind, f.row) for f in checked().findings] == [
        ("warning", "mpp", 2),
        ("warning", "no-slide", 3),
    ]


def test_what_the_stages_refuse_in_slides_csv_is_told_in_their_words(cohort: Path) -> None:
    write("slide_id,tissue_treshold\ns_01,9\n", "data/slides.csv")
    (finding,) = errors(checked())
    assert "column 'tissue_treshold'" in finding.message
    assert "did you mean tissue_threshold" in finding.fix


def test_a_slides_own_setting_is_checked_as_in_params_yaml(cohort: Path) -> None:
    write("slide_id,tissue_threshold\ns_01,8\ns_02,thick\n", "data/slides.csv")
    (finding,) = errors(checked())
    assert (finding.row, finding.column, finding.text) == (3, "tissue_threshold", "thick")


@pytest.mark.parametrize("folder", ["edits", "rois"])
def test_drawings_of_no_slide_are_told(cohort: Path, folder: str) -> None:
    for name in ("s_01", "s_2", "nobody"):
        write("{}", f"data/{folder}/{name}.geojson")
    assert [(f.severity, f.kind, f.text) for f in checked().findings] == [
        ("error", "drawing", "s_2"),
        ("warning", "drawing", "nobody"),
    ]


@pytest.mark.parametrize("folder", ["edits", "rois", "annotations", "lesions"])
def test_files_that_are_not_read_as_drawings_are_told_with_what_to_do(cohort: Path, folder: str) -> None:
    for name in ("s_01.json", "s_02.xml", "s_03.geojson.txt", "s_04.ndpa", "old/s_05.geojson"):
        Path(f"data/{folder}", name).parent.mkdir(parents=True, exist_ok=True)
        write("{}", f"data/{folder}/{name}")
    found = [(f.severity, f.kind, f.text, f.message) for f in checked().findings]
    assert found == [
        ("warning", "drawing", "s_05.geojson", f"not read as drawings: data/{folder}/old/s_05.geojson"),
        ("warning", "drawing", "s_03.geojson.txt", f"not read as drawings: data/{folder}/s_03.geojson.txt"),
        ("warning", "drawing", "s_04.ndpa", f"not read as drawings: data/{folder}/s_04.ndpa"),
    ]
    assert [f.fix.split(":")[0] for f in checked().findings][::2] == [
        "sub-folders are not read",
        "Hamamatsu's drawings count nanometres from the slide's centre",
    ]


def test_a_near_name_keeps_its_own_suffix_in_the_fix(cohort: Path) -> None:
    for name in ("s_2.xml", "s_03.geojson.json"):
        Path("data/edits").mkdir(parents=True, exist_ok=True)
        write("{}", f"data/edits/{name}")
    assert [f.fix for f in errors(checked())] == ["rename it to s_03.json", "rename it to s_02.xml"]


# ---------------------------------------------------------------------------------------------- output


def test_many_findings_of_a_kind_are_counted_on_the_terminal_and_listed_for_programs(
    cohort: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(*(f"t_{number:02d}" for number in range(20)))
    write(GOOD + "".join(f"t_{number:02d}.svs,normal,T{number}\n" for number in range(20)))
    found = checked()
    report(found)
    out = capsys.readouterr().out
    assert out.count("fix: write t_") == 5
    assert "… and 15 more of this kind (rows 13, 14, 15, 16, 17, …); --json lists all" in out
    assert out.splitlines()[0] == "data/labels.csv"
    assert out.endswith("ready: 6\n20 errors\n")
    assert max(map(len, out.splitlines()[:-2])) <= 100
    record = json.loads(json.dumps(as_record(found)))
    assert (record["errors"], record["warnings"], len(record["findings"])) == (20, 0, 20)
    assert record["findings"][0]["fix"] == "write t_00"


def test_a_thousand_slides_whose_ids_do_not_fit_take_seconds(cohort: Path) -> None:
    put(*(f"case_{number}" for number in range(1000)), content=b"z" * 5000)
    write("slide_id,label\n" + "".join(f"CASE-{number:05d}.svs,{number % 2}\n" for number in range(1000)))
    start = time.perf_counter()
    found = checked()
    assert len([f for f in errors(found) if f.kind == "near-id"]) == 1000
    assert time.perf_counter() - start < 10


def test_the_command_exits_with_2_where_there_is_an_error_and_needs_no_params_yaml(cohort: Path) -> None:
    command = CliRunner()
    folds = ["-S", "folds=3"]
    good = command.invoke(app, ["check", *folds])
    assert (good.exit_code, good.output.splitlines()[-1]) == (0, "no errors")
    write(changed("s_02,", "s_2,"))
    bad = command.invoke(app, ["check", *folds])
    assert bad.exit_code == 2
    assert "row 3, slide_id: there is no slide 's_2'" in bad.output
    record = json.loads(command.invoke(app, ["check", "--json", *folds]).output)
    assert [(f["severity"], f["row"], f["column"]) for f in record["findings"] if f["kind"] == "near-id"] == [
        ("error", 3, "slide_id")
    ]

"""Finding the folders of an old run and its slides."""

from pathlib import Path

import pytest
from sam_mil_run import Run

from sammil_cli.errors import InputError
from sammil_cli.legacy.sam_mil import find_layout


def test_the_documented_folders_are_found(run: Run) -> None:
    run.write("h5")
    layout = find_layout(run.root, None, None, None, None)
    assert layout.kind == "h5"
    assert layout.features == run.root / "features" / "h5_files"
    assert layout.segments == run.root / "segments"
    assert layout.coords == run.root / "patches"
    assert layout.process_list == run.root / "process_list_autogen.csv"
    assert (layout.slide_ids, layout.left_out, layout.notes) == (("case.7",), {}, ())


def test_h5_goes_before_pt_unless_pt_is_named(run: Run) -> None:
    run.write("h5").write("pt")
    assert find_layout(run.root, None, None, None, None).kind == "h5"
    assert find_layout(run.root, run.root / "features" / "pt_files", None, None, None).kind == "pt"


def test_folders_can_be_named(run: Run, tmp_path: Path) -> None:
    run.write("pt")
    for name in ("segments", "patches"):
        (run.root / name).rename(tmp_path / name)
    with pytest.raises(InputError, match="segments"):
        find_layout(run.root, None, None, None, None)
    layout = find_layout(run.root, None, tmp_path / "segments", tmp_path / "patches", None)
    assert (layout.kind, layout.coords) == ("pt", tmp_path / "patches")


@pytest.mark.parametrize(
    ("kind", "gone", "message", "remedy"),
    [
        ("h5", "features", "neither h5_files/ nor pt_files/", "--features"),
        ("h5", "segments", "no segments/", "--no-segments"),
        ("pt", "patches", "no patches/", "--coords"),
    ],
)
def test_what_is_missing_is_named_with_its_remedy(run: Run, kind: str, gone: str, message: str, remedy: str) -> None:
    run.write(kind)
    (run.root / gone).rename(run.root.parent / "elsewhere")
    with pytest.raises(InputError, match=message) as caught:
        find_layout(run.root, None, None, None, None)
    assert remedy in caught.value.remedy


def test_segments_are_optional_when_asked(run: Run) -> None:
    run.write("h5")
    (run.root / "segments").rename(run.root / "elsewhere.old")
    assert find_layout(run.root, None, None, None, None, require_segments=False).segments is None


def test_a_folder_that_is_none_is_refused(run: Run) -> None:
    run.write("h5")
    with pytest.raises(InputError, match="nowhere"):
        find_layout(run.root / "nowhere", None, None, None, None)
    with pytest.raises(InputError, match="nowhere"):
        find_layout(run.root, None, run.root / "nowhere", None, None)
    with pytest.raises(InputError, match=r"neither \.h5 nor \.pt"):
        find_layout(run.root, run.root / "segments", None, None, None)


def test_two_runs_below_one_folder_are_told_apart_by_the_user(run: Run) -> None:
    run.write("h5")
    (run.root / "again" / "h5_files").mkdir(parents=True)
    with pytest.raises(InputError, match="more than once"):
        find_layout(run.root, None, None, None, None)


def test_the_process_list_chooses_slides_and_says_whom_it_leaves_out(run: Run) -> None:
    run.write("h5")
    features = run.root / "features" / "h5_files"
    for slide_id in ("a", "b.c", "d", "extra"):
        (features / f"{slide_id}.h5").write_bytes(b"")
    run.write_process_list(
        "d.mrxs,0,already_exist,1",
        "case.7.tif,0,processed,1",
        "a,0,failed_seg,1",
        "b.c,1,tbp,1",
        "gone.with.dots.svs,0,processed,1",
    )
    layout = find_layout(run.root, None, None, None, None)
    # A slide whose features are gone is kept, so that converting it reports the missing file.
    assert layout.slide_ids == ("d", "case.7", "gone.with.dots")
    assert {key: reason.split()[-1] for key, reason in layout.left_out.items()} == {
        "a": "failed_seg",
        "b.c": "tbp",
        "extra": "it",
    }


def test_without_a_status_the_process_flag_decides(run: Run) -> None:
    run.write("h5")
    (run.root / "features" / "h5_files" / "b.h5").write_bytes(b"")
    table = run.root / "process_list_autogen.csv"
    table.write_text("slide_id,process\ncase.7.svs,1\nb.svs,0\n")
    layout = find_layout(run.root, None, None, None, None)
    assert (layout.slide_ids, list(layout.left_out)) == (("case.7",), ["b"])


def test_without_a_process_list_all_features_are_taken_and_it_is_said(run: Run) -> None:
    run.write("h5")
    (run.root / "process_list_autogen.csv").unlink()
    layout = find_layout(run.root, None, None, None, None)
    assert layout.slide_ids == ("case.7",)
    assert "every feature file" in layout.notes[0]
    with pytest.raises(InputError, match=r"other\.csv"):
        find_layout(run.root, None, None, None, run.root / "other.csv")


@pytest.mark.parametrize("slide_id", ["../outside", "/etc/passwd", ".."])
def test_a_slide_id_cannot_lead_out_of_the_folder(run: Run, slide_id: str) -> None:
    run.write("h5")
    run.write_process_list(f"{slide_id},0,processed,1")
    with pytest.raises(InputError, match="no slide id"):
        find_layout(run.root, None, None, None, None)

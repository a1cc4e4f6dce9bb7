"""Finding the folders of an old run and its slides."""

import shutil
from pathlib import Path

import pytest
from sam_mil_run import Run

from sammil_cli.errors import InputError
from sammil_cli.legacy.layout import Layout, Source, find_layout


def slides(layout: Layout) -> tuple[str, ...]:
    return tuple(source.slide_id for source in layout.sources)


def test_the_documented_files_are_found(run: Run) -> None:
    run.write("h5")
    layout = find_layout(run.root)
    assert layout.tool == "SAM-MIL"
    assert layout.features == run.root / "features" / "h5_files"
    assert layout.source("case.7") == Source(
        slide_id="case.7",
        features=run.root / "features" / "h5_files" / "case.7.h5",
        coords=run.root / "patches" / "case.7.h5",
        segments=run.root / "segments" / "case.7.pkl",
    )
    assert (slides(layout), layout.left_out, layout.remarks) == (("case.7",), {}, ())


def test_h5_goes_before_pt_unless_pt_is_named(run: Run) -> None:
    run.write("h5").write("pt")
    assert find_layout(run.root).features == run.root / "features" / "h5_files"
    named = find_layout(run.root, run.root / "features" / "pt_files")
    assert named.source("case.7").features == run.root / "features" / "pt_files" / "case.7.pt"


def test_folders_can_be_named(run: Run, tmp_path: Path) -> None:
    run.write("pt")
    for name in ("segments", "patches"):
        (run.root / name).rename(tmp_path / name)
    with pytest.raises(InputError, match="no coordinates"):
        find_layout(run.root)
    layout = find_layout(run.root, None, tmp_path / "segments", tmp_path / "patches")
    source = layout.source("case.7")
    assert source.coords == tmp_path / "patches" / "case.7.h5"
    assert source.segments == tmp_path / "segments" / "case.7.pkl"


@pytest.mark.parametrize(
    ("kind", "gone", "message", "remedy"),
    [("h5", "segments", "no segments/", "--no-segments"), ("pt", "patches", "no patches/", "--coords")],
)
def test_what_is_missing_is_named_with_its_remedy(run: Run, kind: str, gone: str, message: str, remedy: str) -> None:
    run.write(kind)
    (run.root / gone).rename(run.root.parent / "elsewhere")
    with pytest.raises(InputError, match=message) as caught:
        find_layout(run.root)
    assert remedy in caught.value.remedy


def test_segments_are_optional_when_asked(run: Run) -> None:
    run.write("h5")
    (run.root / "segments").rename(run.root.parent / "elsewhere")
    assert find_layout(run.root, require_segments=False).source("case.7").segments is None


def test_clam_runs_need_no_segments(run: Run) -> None:
    run.write("h5", groups=False)
    (run.root / "segments").rename(run.root.parent / "elsewhere")
    assert find_layout(run.root).tool == "CLAM"


def test_coordinates_alone_are_a_run(run: Run) -> None:
    run.write("h5")
    shutil.rmtree(run.root / "features")
    layout = find_layout(run.root)
    assert layout.features is None
    assert layout.source("case.7").coords == run.root / "patches" / "case.7.h5"


def test_a_folder_that_is_none_is_refused(run: Run) -> None:
    run.write("h5")
    with pytest.raises(InputError, match="nowhere"):
        find_layout(run.root / "nowhere")
    with pytest.raises(InputError, match="nowhere"):
        find_layout(run.root, None, run.root / "nowhere")
    with pytest.raises(InputError, match=r"neither \.h5 nor \.pt"):
        find_layout(run.root, run.root / "segments")


def test_a_folder_without_anything_is_listed(run: Run) -> None:
    run.write_process_list("a.svs,1,tbp,1")
    with pytest.raises(InputError, match="nothing to convert") as caught:
        find_layout(run.root)
    assert "1  process list (csv)  in ." in caught.value.message


def test_two_runs_below_one_folder_are_told_apart_by_the_user(run: Run) -> None:
    run.write("h5")
    shutil.copytree(run.root / "features" / "h5_files", run.root / "again" / "h5_files")
    with pytest.raises(InputError, match="more than once") as caught:
        find_layout(run.root)
    assert "1  features with coordinates (h5)  in again/h5_files" in caught.value.message
    assert "--features" in caught.value.remedy
    assert find_layout(run.root, run.root / "again" / "h5_files").features == run.root / "again" / "h5_files"


def test_a_damaged_file_is_its_slides_trouble(run: Run) -> None:
    run.write("h5")
    for folder in ("features/h5_files", "patches"):
        path = run.root / folder / "case.7.h5"
        path.write_bytes(path.read_bytes()[:100])
    source = find_layout(run.root).source("case.7")
    assert source.features == run.root / "features" / "h5_files" / "case.7.h5"
    assert source.coords == run.root / "patches" / "case.7.h5"


def test_process_lists_that_disagree_are_told_apart_by_the_user(run: Run) -> None:
    run.write("h5")
    (run.root / "process_list_edited.csv").write_text("slide_id,process\ncase.7,0\n")
    with pytest.raises(InputError, match="disagree") as caught:
        find_layout(run.root)
    assert "--process-list" in caught.value.remedy
    given = find_layout(run.root, process_list=run.root / "process_list_edited.csv")
    assert (slides(given), list(given.left_out)) == ((), ["case.7"])


def test_a_process_list_of_other_slides_is_passed_over(run: Run) -> None:
    run.write("h5")
    run.write_process_list("elsewhere.svs,0,processed,1")
    layout = find_layout(run.root)
    assert slides(layout) == ("case.7",)
    assert "names none of these slides" in layout.remarks[0]


def test_tissue_settings_are_kept_for_the_remarks(run: Run) -> None:
    run.write("h5")
    (run.root / "process_list_autogen.csv").write_text(
        "slide_id,process,status,sthresh,use_otsu\ncase.7.svs,0,processed,8,False\n"
    )
    assert find_layout(run.root).settings == {"case.7": "sthresh=8 use_otsu=False"}


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
    layout = find_layout(run.root)
    # A slide whose features are gone is kept, so that converting it reports the missing file.
    assert slides(layout) == ("d", "case.7", "gone.with.dots")
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
    layout = find_layout(run.root)
    assert (slides(layout), list(layout.left_out)) == (("case.7",), ["b"])


def test_without_a_process_list_all_features_are_taken_and_it_is_said(run: Run) -> None:
    run.write("h5")
    (run.root / "process_list_autogen.csv").unlink()
    layout = find_layout(run.root)
    assert slides(layout) == ("case.7",)
    assert "every feature or coordinate file" in layout.remarks[0]
    with pytest.raises(InputError, match=r"other\.csv"):
        find_layout(run.root, process_list=run.root / "other.csv")


@pytest.mark.parametrize("slide_id", ["../outside", "/etc/passwd", ".."])
def test_a_slide_id_cannot_lead_out_of_the_folder(run: Run, slide_id: str) -> None:
    run.write("h5")
    run.write_process_list(f"{slide_id},0,processed,1")
    with pytest.raises(InputError, match="no slide id"):
        find_layout(run.root)

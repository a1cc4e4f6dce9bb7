"""sammil wsi-sam train, from slides and drawings to tokens: the same bytes, kept, refused, replaced."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
import shapely
import torch
from drawn_project import NEST, draw, settings_of
from inline_executor import open_inline
from slide_maker import draw_asymmetric, draw_tissue, write_pyramid

from sammil_cli.errors import InputError, MissingError
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.prompting import loop, train
from sammil_cli.prompting.train import Trained
from sammil_cli.regions.wsi_sam.model import WsiSam
from sammil_cli.regions.wsi_sam.tokens import load_wsi_sam, read_tokens
from sammil_cli.runner import per_slide
from sammil_cli.storage.files import read_csv, sha256_file

Run = Callable[..., Trained]


@pytest.fixture
def run(project: Project, sam: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(per_slide, "open_executor", open_inline)

    def called(*, store: str = "store", **others: Any) -> Trained:
        return train.run(project, settings_of(sam, **others), RunOptions(store=tmp_path / store))

    return called


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_it_writes_tokens_that_load_and_a_curve_samples_pictures_and_a_record(
    run: Run, project: Project, sam: dict[str, object]
) -> None:
    trained = run()
    assert [row.status for row in trained.rows] == ["done"] * 3
    files = contents(project.wsi_sam)
    samples = read_csv(project.wsi_sam / "samples.csv", ("slide_id", "patient_id", "part", "field", "x", "y"))
    held = {row["slide_id"] for row in samples if row["part"] == "val"}
    assert len(samples) == 6
    assert len(held) == 1
    pictures = {name for name in files if name.endswith(".png")}
    assert pictures == {f"{slide}_{number}.png" for slide in held for number in (0, 1)}
    for name in pictures:
        assert cv2.imread(str(project.wsi_sam / name)).shape[1] == 3 * 512
    curve = read_csv(project.wsi_sam / "curve.csv", ("epoch", "loss_dice_high", "loss_bce_low", "val_dice_box"))
    assert len(curve) == 2
    best = max(curve, key=lambda row: float(row["val_dice_box"]))
    assert trained.record["epoch"] == int(best["epoch"])
    assert trained.record["files"] == {
        name: sha256_file(project.wsi_sam / name) for name in files if name != "record.json"
    }
    tokens = read_tokens(project.wsi_sam / "tokens.safetensors")
    assert tokens.facts is not None
    assert (tokens.facts.sam_sha256, tokens.facts.mpp) == (sam["sam_checkpoint_sha256"], 1.0)
    key = tokens.facts.provenance["key"]
    assert {**key["slides"]["s0"]}.keys() == {"slide", "drawing", "tissue", "fields"}
    assert key["slides"]["s0"]["drawing"] == sha256_file(project.lesions / "s0.geojson")
    assert load_wsi_sam(Path(str(sam["sam_checkpoint"])), "vit_b", project.wsi_sam / "tokens.safetensors")


def test_only_what_was_added_has_changed(run: Run, sam: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    models: list[WsiSam] = []
    start: dict[str, torch.Tensor] = {}

    def kept(*words: Any) -> WsiSam:
        models.append(WsiSam(*words))
        start.update({name: value.detach().clone() for name, value in models[-1].added().items()})
        return models[-1]

    monkeypatch.setattr(train, "WsiSam", kept)
    run()
    before = torch.load(str(sam["sam_checkpoint"]), weights_only=True)
    after = models[0].sam.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert [name for name, value in models[0].added().items() if torch.equal(value, start[name])] == []


def test_two_runs_write_the_same_bytes_and_another_seed_others(run: Run, project: Project) -> None:
    run()
    first = contents(project.wsi_sam)
    assert not run(store="another").reused
    assert contents(project.wsi_sam) == first
    run(store="another", seed=5)
    assert contents(project.wsi_sam)["tokens.safetensors"] != first["tokens.safetensors"]


@pytest.mark.parametrize("where", [pytest.param("in an epoch", marks=pytest.mark.stress), "after an epoch"])
def test_a_run_that_was_interrupted_goes_on_and_ends_with_the_same_bytes(
    run: Run, project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    run(wsi_sam_epochs=3)
    whole = contents(project.wsi_sam)
    with monkeypatch.context() as patch:
        steps, writes = loop.TokenTraining._step, loop.write_checkpoint
        count = [0]

        def step(self: loop.TokenTraining, batch: Any) -> dict[str, float]:
            count[0] += 1
            if where == "in an epoch" and count[0] == 4:  # two batches an epoch
                raise KeyboardInterrupt
            return steps(self, batch)

        def write(*words: Any) -> None:
            writes(*words)
            if where == "after an epoch":
                raise KeyboardInterrupt

        patch.setattr(loop.TokenTraining, "_step", step)
        patch.setattr(loop, "write_checkpoint", write)
        with pytest.raises(KeyboardInterrupt):
            run(store="another", wsi_sam_epochs=3)
    assert contents(project.wsi_sam) == whole  # those of the training before
    capsys.readouterr()
    assert not run(store="another", wsi_sam_epochs=3).reused
    assert "goes on after epoch 1 of 3" in capsys.readouterr().out
    assert contents(project.wsi_sam) == whole
    assert not list((project.slides.parents[1] / "another/wsi-sam-train/unfinished").glob("*"))
    assert not list((project.slides.parents[1] / "another/wsi-sam-train").glob(".work*"))


def test_a_second_call_has_nothing_to_do_and_brings_back_what_was_lost(
    run: Run, project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(wsi_sam_epochs=1)
    files = contents(project.wsi_sam)
    (project.wsi_sam / "curve.csv").unlink()
    (project.wsi_sam / "notes.txt").write_text("mine")
    monkeypatch.setattr(train, "_train", None)
    capsys.readouterr()
    assert run(wsi_sam_epochs=1).reused
    assert "nothing to do" in capsys.readouterr().out
    assert contents(project.wsi_sam) == {**files, "notes.txt": b"mine"}


def test_a_setting_that_matters_trains_anew(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class TrainedAnewError(Exception):
        pass

    def anew(*_: object) -> None:
        raise TrainedAnewError

    run(wsi_sam_epochs=1)
    monkeypatch.setattr(train, "_train", anew)
    assert run(wsi_sam_epochs=1).reused
    for edit in (
        {"wsi_sam_epochs": 2},
        {"wsi_sam_batch": 1},
        {"wsi_sam_augment": "none"},
        {"wsi_sam_fields": 1},
        {"wsi_sam_mpp": 1.5},
        {"wsi_sam_precision": "bfloat16"},
        {"wsi_sam_learning_rate": 0.1},
        {"wsi_sam_weight_decay": 0.5},
        {"wsi_sam_val_fraction": 0.6},
        {"wsi_sam_classes": ["Tumour"]},
        {"seed": 4},
    ):
        with pytest.raises(TrainedAnewError):
            run(**{"wsi_sam_epochs": 1, **edit})


def test_what_changes_no_number_trains_nothing(run: Run) -> None:
    run(wsi_sam_epochs=1)
    assert run(wsi_sam_epochs=1, wsi_sam_cache_gib=0.0, fail_over=0.5, slide_minutes=3.0).reused


def test_a_changed_drawing_trains_anew_and_pictures_of_before_go(run: Run, project: Project) -> None:
    run(wsi_sam_epochs=1)
    before = {name for name in contents(project.wsi_sam) if name.endswith(".png")}
    draw(project.lesions / "s1.geojson", shapely.box(420, 260, 600, 480))
    assert not run(wsi_sam_fields=1, wsi_sam_epochs=1).reused
    left = {name for name in contents(project.wsi_sam) if name.endswith(".png")}
    assert len(before) == 2
    assert len(left) == 1


def test_slides_that_cannot_be_used_are_listed_and_the_others_are_learned_from(
    run: Run, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    data = project.slides
    write_pyramid(data / "coarse.tif", draw_asymmetric(), mpp=2.0)
    write_pyramid(data / "no_mpp.tif", draw_asymmetric(), mpp=None)
    write_pyramid(data / "other.tif", draw_asymmetric())
    write_pyramid(data / "empty.tif", draw_asymmetric())
    write_pyramid(data / "undrawn.tif", draw_asymmetric())
    for name in ("coarse", "no_mpp"):
        draw(project.lesions / f"{name}.geojson", (shapely.box(50, 50, 200, 200), "Tumour"))
    draw(project.lesions / "other.geojson", (shapely.box(50_000, 50, 52_000, 200), "Tumour"))
    draw(project.lesions / "empty.geojson")
    draw(project.lesions / "s2.geojson", NEST)
    draw(project.lesions / "stranger.geojson", NEST)
    trained = run(wsi_sam_classes=["Tumour"], wsi_sam_epochs=1)
    codes = {row.slide_id: row.code for row in trained.rows}
    assert codes == {
        "s0": "",
        "s1": "",
        "s2": "E_CLASS",
        "coarse": "E_COARSE",
        "no_mpp": "E_MPP",
        "other": "E_EDIT",
        "empty": "E_EDIT",
    }
    assert all(row.remedy for row in trained.rows if not row.done)
    listed = read_csv(project.process_lists / "wsi-sam-train.csv", ("slide_id", "code"))
    assert {row["slide_id"]: row["code"] for row in listed} == codes
    said = capsys.readouterr().out
    assert "1 slide(s) without a drawing" in said
    assert "there is no slide 'stranger'" in said
    samples = read_csv(project.wsi_sam / "samples.csv", ("slide_id",))
    assert {row["slide_id"] for row in samples} == {"s0", "s1"}


def test_a_resolution_in_the_slide_table_counts(run: Run, project: Project) -> None:
    write_pyramid(project.slides / "s2.tif", draw_tissue(seed=2, tumour=True), mpp=None, downsamples=(1, 4))
    project.slides_table.write_text("slide_id,mpp\ns2,0.5\n")
    trained = run(wsi_sam_epochs=1)
    assert all(row.done for row in trained.rows)
    squares = json.loads((project.fields / "s2.geojson").read_text())
    assert squares["sammil"]["slide_mpp"] == 0.5
    assert {side for *_, side, _ in squares["sammil"]["fields"]} == {512}


def test_slides_of_a_patient_are_held_out_together(run: Run, project: Project) -> None:
    project.labels.write_text("slide_id,label,patient_id\ns0,t,p\ns1,t,q\ns2,t,p\n")
    run(wsi_sam_epochs=1)
    rows = read_csv(project.wsi_sam / "samples.csv", ("patient_id", "part"))
    assert len({(row["patient_id"], row["part"]) for row in rows}) == 2


def test_without_any_drawing_nothing_is_begun(run: Run, project: Project) -> None:
    for path in project.lesions.iterdir():
        path.unlink()
    with pytest.raises(InputError, match="has a drawing") as refused:
        run()
    assert "QuPath" in refused.value.remedy
    assert not project.wsi_sam.exists()


def test_where_no_slide_can_be_used_the_first_reason_is_said(run: Run, project: Project) -> None:
    for path in project.lesions.iterdir():
        draw(path, NEST)
    with pytest.raises(InputError, match=r"none of 3 slide\(s\), such as s0: E_CLASS") as refused:
        run(wsi_sam_classes=["Tumour"])
    assert "wsi_sam_classes" in refused.value.remedy


def test_a_file_that_is_touched_meanwhile_keeps_nothing(
    run: Run, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(wsi_sam_fields=1, wsi_sam_epochs=1)
    before = contents(project.wsi_sam)
    write = loop.write_checkpoint

    def touch(*words: Any) -> None:
        write(*words)
        draw(project.lesions / "s0.geojson", shapely.box(500, 300, 600, 400))

    monkeypatch.setattr(loop, "write_checkpoint", touch)
    with pytest.raises(InputError, match=r"s0\.geojson") as refused:
        run(wsi_sam_epochs=1)
    assert refused.value.code == "E_CHANGED"
    assert contents(project.wsi_sam) == before
    assert not list((project.slides.parents[1] / "store/wsi-sam-train/unfinished").glob("*"))


def test_a_loss_that_is_not_finite_names_the_fields(run: Run, project: Project) -> None:
    with pytest.raises(Exception, match="not finite on s") as refused:
        run(wsi_sam_learning_rate=1e30, wsi_sam_epochs=6)
    assert "wsi_sam_learning_rate" in refused.value.remedy  # type: ignore[attr-defined]
    assert not project.wsi_sam.exists()


def test_weights_of_another_model_are_refused_before_any_slide(run: Run, project: Project) -> None:
    with pytest.raises(MissingError):
        run(sam_model="vit_t")
    assert not project.fields.exists()

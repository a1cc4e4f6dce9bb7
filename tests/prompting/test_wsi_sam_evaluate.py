"""Models judged on drawn slides: who is asked what, what is compared, and what was seen in training."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from csv_rows import rows_of
from drawn_project import EARLY, SIDE_PX, project_in, settings_of
from inline_executor import open_inline

from sammil_cli.config import SamSettings, Settings
from sammil_cli.errors import InputError, MissingError
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.prompting import evaluate, train
from sammil_cli.prompting.candidates import DENSITY, FILLED_BOX, REFERENCES, SATURATION, find_candidates, loaded
from sammil_cli.prompting.evaluate import Question, drawn_prompts
from sammil_cli.prompting.evaluation_tables import KINDS
from sammil_cli.prompting.field_reader import Sample
from sammil_cli.prompting.learned_from import LearnedFrom
from sammil_cli.prompting.promptable import Ask
from sammil_cli.regions.sam_models.build import load_sam
from sammil_cli.regions.wsi_sam.field import Field
from sammil_cli.regions.wsi_sam.model import Answer, WsiSam
from sammil_cli.regions.wsi_sam.prompts import Prompts
from sammil_cli.regions.wsi_sam.tokens import TokenFacts, write_tokens
from sammil_cli.runner import per_slide

OPTIONS = RunOptions(device="cpu", workers=1)


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fields are drawn without workers."""
    monkeypatch.setattr(per_slide, "open_executor", open_inline)


def judge(project: Project, settings: Settings, out: Path, **asked: Any) -> dict[str, Any]:
    return dict(evaluate.run(project, settings, OPTIONS, Question(**asked), out).summary)


def write_random_tokens(path: Path, sam: dict[str, object], patients: dict[str, tuple[str, bool]]) -> Path:
    """Tokens that nobody trained, and that say they were trained on these patients: slide -> id, held out."""
    model = WsiSam(load_sam(Path(str(sam["sam_checkpoint"])), "vit_b"), EARLY)
    facts = TokenFacts(
        sam_model="vit_b",
        sam_sha256=str(sam["sam_checkpoint_sha256"]),
        mpp=1.0,
        side_px=SIDE_PX,
        provenance={"key": {"patients": patients}},
    )
    write_tokens(path, model, facts)
    return path


class BoxModel:
    """Fills the box that it is given, or the one around the points; remembers how it was asked."""

    side_px, needs_low, mask_levels = SIDE_PX, True, (0.0, 1.0)

    def __init__(self) -> None:
        self.asked: list[Prompts] = []

    def look(self, high: Any, low: Any) -> Ask:
        assert high.shape == low.shape == (SIDE_PX, SIDE_PX, 3)

        def answer(prompts: Prompts) -> Answer:
            self.asked.append(prompts)
            points = prompts.points if prompts.boxes is None else prompts.boxes.view(1, 2, 2)
            assert points is not None
            (x0, y0), (x1, y1) = points[0].amin(0).tolist(), points[0].amax(0).tolist()
            middles = torch.arange(SIDE_PX // 4) * 4.0 + 2
            inside = ((middles > y0) & (middles < y1))[:, None] & ((middles > x0) & (middles < x1))
            return Answer(logits=torch.where(inside, 10.0, -10.0)[None], predicted_iou=torch.ones(1))

        return answer


def test_a_model_that_fills_its_box_scores_as_the_filled_box(
    project: Project, sam: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = BoxModel()
    monkeypatch.setattr(evaluate, "loaded", lambda *_: iter([(SIDE_PX, {"sam": model})]))
    found = judge(project, settings_of(sam), tmp_path / "out")["results"]
    assert found["box"]["sam"]["dice"]["value"] == pytest.approx(found["box"][FILLED_BOX]["dice"]["value"], abs=0.02)
    # A nest's outline is a rectangle: its tight box is what was drawn.
    assert found["box"][FILLED_BOX]["dice"]["value"] == 1
    assert found["box"][FILLED_BOX]["dice_difference"]["value"] == pytest.approx(0, abs=0.02)
    dice = [found[kind]["sam"]["dice"]["value"] for kind in ("3 points", "5 points", "10 points")]
    assert dice == sorted(dice)
    assert dice[0] < dice[-1] < 0.95
    assert set(found["3 points"]) == {"sam"}  # nobody gives a box there
    three, five, ten = model.asked[1:4]
    assert [one.points.shape[1] for one in (three, five, ten) if one.points is not None] == [3, 5, 10]
    assert three.points is not None
    assert ten.points is not None
    assert torch.equal(three.points, ten.points[:, :3])


def test_all_files_are_written_and_agree(project: Project, sam: dict[str, object], tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = judge(project, settings_of(sam), out, checkpoints=(f"again={sam['sam_checkpoint']}",))
    assert json.loads((out / "metrics.json").read_text()) == json.loads(json.dumps(summary))
    rows = rows_of(out / "per_sample.csv")
    assert len(rows) == 3 * 2 * (2 * len(KINDS) + len(REFERENCES))  # slides, fields, models and references
    mean = np.mean([float(row["iou"]) for row in rows if (row["model"], row["prompt"]) == ("sam", "5 points")])
    assert summary["results"]["5 points"]["sam"]["iou"]["value"] == pytest.approx(mean, abs=1e-6)
    same = summary["results"]["box"]["again"]["dice_difference"]  # the same weights under another name
    assert (same["value"], same["low"], same["high"]) == (0, 0, 0)
    page, text = (out / "index.html").read_text(), (out / "evaluation.md").read_text()
    for said in ("Prompt: 10 points", "Otsu on saturation in the box", "As published: box", "77.50", "does not say"):
        assert said in page
        assert said in text
    assert "3 patients are few" in text
    again = judge(project, settings_of(sam), tmp_path / "again", checkpoints=(f"again={sam['sam_checkpoint']}",))
    assert again == summary
    assert (tmp_path / "again" / "per_sample.csv").read_bytes() == (out / "per_sample.csv").read_bytes()


def test_held_out_patients_are_judged_by_themselves_and_what_was_learned_from_is_stamped(
    project: Project, sam: dict[str, object], tmp_path: Path
) -> None:
    settings = settings_of(sam)
    train.run(project, settings, OPTIONS)
    found = judge(project, settings, tmp_path / "held", trained=project.wsi_sam)
    parts = {row["slide_id"]: row["part"] for row in rows_of(project.wsi_sam / "samples.csv")}
    held = {slide for slide, part in parts.items() if part == "val"}
    rows = rows_of(tmp_path / "held" / "per_sample.csv")
    assert {row["slide_id"] for row in rows} == held
    assert list(found["models"]) == ["sam", "wsi-sam"]
    assert found["models"]["wsi-sam"]["stamp"] == "epoch chosen on the patients of 2 of these 2 fields"
    # What chose the epoch is the same number: the training and the judging ask and answer alike.
    chosen = json.loads((project.wsi_sam / "record.json").read_text())["figures"]["val_dice_box"]
    assert found["results"]["box"]["wsi-sam"]["dice"]["value"] == pytest.approx(chosen)

    tokens = {"wsi_sam_tokens": str(project.wsi_sam / "tokens.safetensors")}
    everywhere = judge(project, settings_of(sam, **tokens), tmp_path / "all")
    assert everywhere["models"]["wsi-sam"]["stamp"].startswith("IN SAMPLE: learned from the patients of 4 of these 6")
    assert everywhere["models"]["sam"]["stamp"] == ""
    row = next(line for line in (tmp_path / "all" / "evaluation.md").read_text().splitlines() if "| wsi-sam |" in line)
    assert "IN SAMPLE" in row
    seen = {
        row["slide_id"]: row["seen_in_training"]
        for row in rows_of(tmp_path / "all" / "per_sample.csv")
        if row["model"] == "wsi-sam"
    }
    assert seen == {slide: "chose the epoch" if slide in held else "learned from" for slide in parts}


def test_another_slide_of_a_patient_that_was_learned_from_is_in_sample() -> None:
    field = Field(corner_px=(0, 0), side_px0=64, out_px=64)
    source = LearnedFrom(known=True, learned=frozenset({"s1", "anna"}), chose=frozenset({"s2", "bert"}))

    def saw(slide: str, patient: str) -> str:
        one = Sample(slide_id=slide, patient_id=patient, number=0, field=field, share=0.5, held_out=True)
        return source.saw(one)

    assert [saw("s1", "s1"), saw("s9", "anna"), saw("s8", "bert"), saw("s7", "carl")] == [
        "learned from",
        "learned from",
        "chose the epoch",
        "no",
    ]
    assert LearnedFrom.of(None).saw is not None
    assert not LearnedFrom.of(None).known


def test_one_sam_is_loaded_once_and_looks_at_a_picture_once(
    sam: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(sam)
    tokens = write_random_tokens(tmp_path / "tokens.safetensors", sam, {})
    asked = find_candidates(settings.stage(SamSettings), ("sam", "wsi-sam"), (f"third={tokens}",), tokens)
    [(side, models)] = loaded(asked, "cpu", "float32")
    assert (side, list(models)) == (SIDE_PX, ["sam", "wsi-sam", "third"])
    calls = []
    encoder = type(models["sam"]._embedder).__mro__[1]  # type: ignore[attr-defined]
    see = encoder.see
    monkeypatch.setattr(encoder, "see", lambda self, pixels: calls.append(1) or see(self, pixels))
    high, low = np.random.default_rng(0).integers(0, 255, (2, SIDE_PX, SIDE_PX, 3), np.uint8)
    box = Prompts(boxes=torch.tensor([[20.0, 30, 200, 180]]))
    answers = [model.look(high, low)(box) for model in models.values()]
    assert len(calls) == 2
    assert torch.equal(answers[1].logits, answers[2].logits)
    assert not torch.equal(answers[0].logits, answers[1].logits)


def test_each_checkpoint_has_its_model_and_its_colours(sam: dict[str, object]) -> None:
    settings, file = settings_of(sam).stage(SamSettings), sam["sam_checkpoint"]
    texts = (f"a=vit_b,min-max:{file}", f"b=vit_b:{file}", f"c={file}")
    asked = find_candidates(settings, ("sam",), texts, None)
    assert [one.colours for one in asked] == ["sam", "min-max", "sam", "sam"]
    assert asked[1].described()["sam_colours"] == "min-max"
    assert sorted(sorted(models) for _, models in loaded(asked, "cpu", "float32")) == [["a"], ["b", "c", "sam"]]
    with pytest.raises(MissingError, match="does not exist"):  # no such colours: the whole of it is a file's name
        find_candidates(settings, (), (f"d=vit_b,max:{file}",), None)


def test_references_by_hand() -> None:
    picture = np.full((8, 8, 3), 250, np.uint8)
    picture[2:4, 2:6] = (120, 60, 140)  # dark and coloured
    picture[4:6, 2:6] = 60  # darker, and grey
    box = np.zeros((8, 8), np.bool_)
    box[2:7, 2:6] = True
    dark, coloured = np.zeros_like(box), np.zeros_like(box)
    dark[2:6, 2:6] = coloured[2:4, 2:6] = True
    assert np.array_equal(REFERENCES[FILLED_BOX](picture, box), box)
    assert np.array_equal(REFERENCES[DENSITY](picture, box), dark)
    assert np.array_equal(REFERENCES[SATURATION](picture, box), coloured)
    plain = np.full_like(picture, 250)
    assert np.array_equal(REFERENCES[DENSITY](plain, box), box)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"models": ("medsam",)}, "no model 'medsam'"),
        ({"models": ("sam", "wsi-sam")}, "no tokens are named"),
        ({"checkpoints": ("sam=x.pth",)}, "does not exist"),
        ({"checkpoints": ("x.pth",)}, "names no file"),
        ({"checkpoints": ("other=vit_b:",)}, "names no file"),
        ({"checkpoints": ("sam={sam_checkpoint}",)}, "two of what is judged are called 'sam'"),
        ({"against": "medsam"}, "--against names 'medsam'"),
        ({"trained": Path("nowhere")}, "nowhere holds no training"),
    ],
)
def test_what_cannot_be_judged_is_refused_before_any_slide(
    sam: dict[str, object], tmp_path: Path, asked: dict[str, Any], said: str
) -> None:
    asked = {name: tuple(w.format(**sam) for w in v) if name == "checkpoints" else v for name, v in asked.items()}
    with pytest.raises((InputError, MissingError), match=said) as refused:
        judge(project_in(tmp_path), settings_of(sam), tmp_path / "out", **asked)
    assert refused.value.remedy


def test_a_word_before_tokens_is_refused_rather_than_passed_over(sam: dict[str, object], tmp_path: Path) -> None:
    tokens = write_random_tokens(tmp_path / "tokens.safetensors", sam, {})
    with pytest.raises(InputError, match=r"holds tokens, .* \(sam_model: vit_b,") as refused:
        find_candidates(settings_of(sam).stage(SamSettings), ("sam",), (f"mine=vit_h:{tokens}",), None)
    assert refused.value.remedy


def test_a_checkpoint_that_does_not_load_is_refused_before_any_slide(sam: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "z.pth").write_bytes(b"no weights")
    with pytest.raises(MissingError, match=r"z\.pth is no weight file"):
        judge(project_in(tmp_path), settings_of(sam), tmp_path / "out", checkpoints=(f"z={tmp_path / 'z.pth'}",))


def test_pictures_of_two_sides_are_not_judged_together(
    project: Project, sam: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = BoxModel()
    monkeypatch.setattr(
        evaluate, "loaded", lambda *_: iter([(SIDE_PX, {"sam": BoxModel()}), (2 * SIDE_PX, {"b": other})])
    )
    with pytest.raises(InputError, match="b: pictures of 512 pixels, where sam has 256"):
        judge(project, settings_of(sam), tmp_path / "out")
    assert other.asked == []


def test_a_training_elsewhere_has_no_patients_here(project: Project, sam: dict[str, object], tmp_path: Path) -> None:
    project.wsi_sam.mkdir(parents=True)
    write_random_tokens(project.wsi_sam / "tokens.safetensors", sam, {"x1": ("x1", False), "x2": ("x2", True)})
    with pytest.raises(InputError, match="held out none of the 3 patient"):
        judge(project, settings_of(sam), tmp_path / "out", trained=project.wsi_sam)


def test_what_is_asked_follows_from_the_seed() -> None:
    truth = np.zeros((64, 64), np.bool_)
    truth[10:40, 20:50] = True
    field = Field(corner_px=(0, 0), side_px0=64, out_px=64)
    sample = Sample(slide_id="s", patient_id="p", number=1, field=field, share=0.2, held_out=True)
    first, again, other = (drawn_prompts(truth, sample, seed) for seed in (1, 1, 2))
    assert list(first) == list(KINDS)
    assert first["box"].boxes is not None
    assert first["box"].boxes.tolist() == [[20, 10, 50, 40]]
    for kind in KINDS[1:]:
        one, same, another = (drawn[kind].points for drawn in (first, again, other))
        assert one is not None
        assert same is not None
        assert another is not None
        assert torch.equal(one, same)
        assert not torch.equal(one, another)
        x, y = one[0].long().T
        assert truth[y.numpy(), x.numpy()].all()


def test_it_judges_as_it_is_typed(
    sammil: Callable[..., Any], project: Project, sam: dict[str, object], tmp_path: Path
) -> None:
    write_random_tokens(tmp_path / "mine.safetensors", sam, {"s0": ("s0", False)})
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"wsi_sam_fields": 1, **sam}))
    answer = sammil("wsi-sam", "evaluate", "--device", "cpu", "--checkpoint", "mine=mine.safetensors", "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert found == json.loads(Path("report/wsi_sam/metrics.json").read_text())
    assert list(found["models"]) == ["sam", "mine"]
    assert found["models"]["mine"]["stamp"] == "IN SAMPLE: learned from the patients of 1 of these 3 fields"
    assert found["models"]["mine"]["trained_mpp"] == 1
    again = sammil(
        "wsi-sam", "evaluate", "--device", "cpu", "--checkpoint", "mine=mine.safetensors", "-S", "wsi_sam_mpp=2"
    )
    told = "The tokens of mine were trained at 1 µm per pixel, and are judged at 2"
    assert told in again.out
    assert told in Path("report/wsi_sam/index.html").read_text()
    refused = sammil("wsi-sam", "evaluate", "--device", "cpu", "--model", "wsi-sam")
    assert refused.code == 2
    assert "--run runs/wsi_sam" in refused.err

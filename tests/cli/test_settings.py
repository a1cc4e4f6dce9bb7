"""params.yaml and -S: what is read, and the one line that says what is wrong."""

from dataclasses import MISSING, fields
from pathlib import Path

import pytest
import yaml

from sammil_cli import choices
from sammil_cli.choices import Kind
from sammil_cli.config import ON_REQUEST, STAGES, Settings, TrainSettings, check, describe, load_settings
from sammil_cli.errors import InputError
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.project.presets import preset, preset_names, render_params
from sammil_cli.stages.settled import settled

every_preset = pytest.mark.parametrize("name", preset_names())


def write(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_there_are_the_defaults() -> None:
    settings = load_settings(None)
    assert settings == Settings()
    assert (settings.mask_ratio, settings.folds, settings.patch_mpp) == (0.9, 5, None)


def test_the_file_goes_before_the_default_and_an_assignment_before_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "mask_ratio: 0.5\nfolds: 3\n")
    settings = load_settings(path, ["mask_ratio=0.25", "seed=7"])
    assert (settings.mask_ratio, settings.folds, settings.seed, settings.epochs) == (0.25, 3, 7, "auto")


def test_of_two_assignments_the_last_one_counts() -> None:
    assert load_settings(None, ["folds=3", "folds=4"]).folds == 4


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("folds=3", "folds", 3),
        ("patch_mpp=null", "patch_mpp", None),
        ("patch_mpp=1", "patch_mpp", 1.0),
        ("group_features=false", "group_features", False),
        ("group_features=true", "group_features", True),
        ("group_features=auto", "group_features", "auto"),
        ("classes=[benign, malignant]", "classes", ["benign", "malignant"]),
        ("model_options={gated: true}", "model_options", {"gated": True}),
        ("model_options.gated=true", "model_options", {"gated": True}),
        ("++model_options.gated=true", "model_options", {"gated": True}),
        ("model_options=null", "model_options", {}),
        ("+folds=3", "folds", 3),
        ("model=abmil", "model", "abmil"),
        ("sam_checkpoint=a=b.pth", "sam_checkpoint", "a=b.pth"),
        (" seed = 5", "seed", 5),
        ("learning_rate=1e-4", "learning_rate", 1e-4),
        ("weight_decay=0", "weight_decay", 0.0),
    ],
)
def test_assignments_are_yaml(text: str, key: str, value: object) -> None:
    found = getattr(load_settings(None, [text]), key)
    assert found == value
    assert type(found) is type(value)


def test_a_number_that_pyyaml_takes_for_text_is_a_number(tmp_path: Path) -> None:
    assert yaml.safe_load("1e-4") == "1e-4"  # YAML 1.1 wants 1.0e-4
    assert load_settings(write(tmp_path, "learning_rate: 1e-4\n")).learning_rate == 1e-4


def test_an_unknown_key_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"params\.yaml: unknown key 'mask_ration'") as caught:
        load_settings(write(tmp_path, "mask_ration: 0.5\n"))
    assert caught.value.remedy == "did you mean mask_ratio?"
    assert caught.value.exit_code == 2


def test_a_key_of_a_table_leaves_its_others(tmp_path: Path) -> None:
    path = write(tmp_path, "model_options: {depth: 2, gated: false}\n")
    assert load_settings(path, ["model_options.gated=true"]).model_options == {"depth": 2, "gated": True}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("+mask_rato=0.3", "unknown key 'mask_rato'"),
        ("mask_ratio.of=0.3", "unknown key 'mask_ratio.of'"),
        ("options.gated=true", "unknown key 'options.gated'"),
    ],
)
def test_a_plus_or_a_dot_makes_no_key(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_settings(None, [text])


def test_dvc_sets_the_options_of_a_model_in_params_yaml(tmp_path: Path) -> None:
    hydra = pytest.importorskip("dvc.utils.hydra")
    for text in ("model_options={gated: true}", "++model_options.gated=true"):
        path = write(tmp_path, render_params("demo", stages=list(STAGES)))
        hydra.apply_overrides(path, [text])
        assert load_settings(path).model_options == {"gated": True}


def test_an_unknown_key_like_no_other_is_refused_too() -> None:
    with pytest.raises(InputError, match="unknown key 'zzz'"):
        load_settings(None, ["zzz=1"])


@pytest.mark.parametrize(
    "text",
    [
        "folds=three",
        "folds=2.5",
        "folds=null",
        "pseudo_bags=true",
        "mask_ratio=false",
        "group_features=5",
        "group_features=always",
        "group_features_of=true",
        "classes=tumour",
        "classes=[a, b, a]",
        "model_options=gated",
        "patch_mpp=fine",
        "segmenter=3",
    ],
)
def test_a_wrong_type_is_refused_with_what_the_key_is(text: str) -> None:
    key = text.partition("=")[0]
    with pytest.raises(InputError, match=f"settings: {key}: ") as caught:
        load_settings(None, [text])
    assert caught.value.remedy == f"{key} is: {describe(key)}"


@pytest.mark.parametrize(
    ("given", "quoted"),
    [
        ("[0, 1]", "['0', '1']"),
        ("[0.0, 1.0]", "['0.0', '1.0']"),
        ("[no, yes]", "['false', 'true']"),
        ("[null, LUAD]", "['null', 'LUAD']"),
    ],
)
def test_classes_without_quotes_are_refused_with_the_quotes(tmp_path: Path, given: str, quoted: str) -> None:
    for load in (
        lambda: load_settings(None, [f"classes={given}"]),
        lambda: load_settings(write(tmp_path, f"classes: {given}\n")),
    ):
        with pytest.raises(InputError, match=r"classes: .*without quotes these are numbers") as caught:
            load()
        assert caught.value.remedy.endswith(f'as they stand in the labels: classes: {quoted}; or -S "classes={quoted}"')
    assert load_settings(None, [f"classes={quoted}"]).classes == yaml.safe_load(quoted)


@pytest.mark.parametrize(
    "text",
    [
        "mask_ratio=1",
        "mask_ratio=-0.1",
        "folds=0",
        "val_fraction=0",
        "patch_mpp=0",
        "tissue_threshold=256",
        "dropout=1",
        "learning_rate=0",
        "learning_rate=.nan",
        "learning_rate=.inf",
        "tissue_mpp=.inf",
        "fail_over=1.5",
        "demo_slides=2",
        "mask_strategy=guided",
        "sam_model=vit_x",
        "feature_dtype=float64",
    ],
)
def test_a_value_out_of_range_is_refused_with_the_value(text: str) -> None:
    key = text.partition("=")[0]
    with pytest.raises(InputError, match=f"settings: {key}: "):
        load_settings(None, [text])


@pytest.mark.parametrize(("typed", "quoted"), [("1", "'1'"), ("no", "'false'"), ("0.5", "'0.5'")])
def test_a_positive_class_that_yaml_takes_for_no_name_is_refused_with_its_quotes(typed: str, quoted: str) -> None:
    with pytest.raises(InputError, match="without quotes this is no name") as caught:
        load_settings(None, [f"positive_class={typed}"])
    assert caught.value.remedy.startswith(f"quote it as it stands in the labels: positive_class: {quoted}; or -S ")
    assert load_settings(None, [f"positive_class={quoted}"]).positive_class == quoted.strip("'")


def test_one_wrong_setting_is_one_line() -> None:
    with pytest.raises(InputError) as caught:
        load_settings(None, ["folds=0", "zzz=1"])
    assert "\n" not in caught.value.message + caught.value.remedy


def test_an_assignment_without_a_value_is_refused() -> None:
    with pytest.raises(InputError, match="-S 'mask_ratio' is not key=value"):
        load_settings(None, ["mask_ratio"])


def test_an_assignment_that_is_no_yaml_is_refused() -> None:
    with pytest.raises(InputError, match="no YAML"):
        load_settings(None, ["classes=[a, b"])


def test_a_missing_file_is_refused_with_the_command_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist") as caught:
        load_settings(tmp_path / "params.yaml")
    assert "sammil init" in caught.value.remedy


@pytest.mark.parametrize("text", ["folds: [3\n", "folds: 3\n\tseed: 4\n"])
def test_a_file_that_is_no_yaml_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="is no YAML") as caught:
        load_settings(write(tmp_path, text))
    assert "line" in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("text", ["", "- folds\n", "folds\n"])
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="no table of key: value"):
        load_settings(write(tmp_path, text))


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(InputError, match="is no YAML"):
        load_settings(path)


def test_settings_never_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().folds = 3


ALL = {**STAGES, **ON_REQUEST}


@pytest.mark.parametrize("stage", list(ALL))
def test_a_stage_gets_its_own_settings_and_no_others(stage: str) -> None:
    found = check({"folds": 3, "fail_over": 0.5, "patch_px": 64}, "test").stage(ALL[stage])
    assert type(found) is ALL[stage]
    given = {"folds": 3, "fail_over": 0.5, "patch_px": 64}
    for key, value in found.model_dump().items():
        assert value == given.get(key, Settings.model_fields[key].default)


def test_every_setting_belongs_to_a_stage_and_has_one_meaning() -> None:
    assert set(Settings.model_fields) == {key for stage in ALL.values() for key in stage.model_fields}
    for key, field in Settings.model_fields.items():
        for stage in ALL.values():
            if key in stage.model_fields:
                assert stage.model_fields[key].description == field.description
                assert stage.model_fields[key].default == field.default


def test_every_setting_has_a_description_of_one_line() -> None:
    for key, field in Settings.model_fields.items():
        assert field.description, key
        assert "\n" not in field.description
        assert "#" not in field.description


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("segmenter", choices.SEGMENTERS),
        ("proposer", choices.PROPOSERS),
        ("encoder", choices.ENCODERS),
        ("model", choices.MODELS),
    ],
)
def test_the_description_of_a_choice_names_every_choice_and_the_default_is_one(key: str, kind: Kind) -> None:
    assert Settings.model_fields[key].default in choices.names(kind)
    words = describe(key).split(": ", 1)[1].split(" | ")
    if kind.rows:  # dozens; they have a page
        assert words.pop() == kind.rows_hint
    modules = [word for word in choices.names(kind) if not choices.row_of(choices.module_name(kind, word))]
    assert [word.split(" (")[0] for word in words] == modules
    assert sum("(" in word for word in words) >= (0 if key == "model" else 2)  # what each says of itself


def test_the_presets_of_the_paper_and_the_demo_are_there() -> None:
    assert preset_names() == ["camelyon16", "default", "demo", "tcga-nsclc"]


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="unknown preset 'camelyon17'") as caught:
        preset("camelyon17")
    assert caught.value.remedy == "did you mean camelyon16? one of: camelyon16, default, demo, tcga-nsclc"


@every_preset
def test_every_preset_names_choices_that_are_there(name: str) -> None:
    settings = check(preset(name), name)
    assert settings.segmenter in choices.names(choices.SEGMENTERS)
    assert settings.proposer in choices.names(choices.PROPOSERS)
    assert settings.encoder in choices.names(choices.ENCODERS)
    assert settings.model in choices.names(choices.MODELS)


def test_the_presets_of_the_paper_hold_its_numbers() -> None:
    c16, tcga = check(preset("camelyon16"), "c16"), check(preset("tcga-nsclc"), "tcga")
    assert (c16.folds, c16.repeats, c16.min_epochs, c16.patience) == (3, 3, 132, 30)  # docs/methods.md §0 and §1
    assert (tcga.folds, tcga.repeats, tcga.min_epochs, tcga.patience) == (5, 1, 72, 20)
    for settings in (c16, tcga):
        recipe = settled(settings.stage(TrainSettings))
        assert (recipe.learning_rate, recipe.weight_decay, recipe.dropout) == (2e-4, 1e-5, 0.25)
        assert (settings.patch_px, settings.patch_mpp, settings.sam_canvas_px) == (512, None, 1024)
        assert (settings.sam_model, settings.sam_pred_iou_thresh, settings.sam_crop_layers) == ("vit_h", 0.6, 1)
        assert (settings.mask_ratio, settings.sigmoid_slope, settings.sigmoid_center) == (0.9, 5e-4, 5000)
        assert (settings.pseudo_bags, settings.pseudo_bag_weight) == (5, 0.5)
        assert settings.encoder == "resnet50"


@every_preset
def test_a_written_params_yaml_gives_the_settings_of_its_preset_again(name: str, tmp_path: Path) -> None:
    text = render_params(name, stages=list(ALL))
    assert load_settings(write(tmp_path, text)) == check(preset(name), name)


@every_preset
def test_a_written_params_yaml_lists_every_key_once_with_its_meaning(name: str) -> None:
    lines = render_params(name, stages=list(ALL)).splitlines()
    for key in Settings.model_fields:
        found = [line for line in lines if line.startswith(f"{key}:")]
        assert len(found) == 1, key
        assert found[0].endswith(f"# {describe(key)}")


def test_a_written_params_yaml_holds_the_keys_of_its_stages_only() -> None:
    text = render_params("demo", stages=["segment", "train"])
    keys = set(yaml.safe_load(text))
    assert keys == set(STAGES["segment"].model_fields) | set(STAGES["train"].model_fields)


@pytest.mark.parametrize(
    ("name", "form", "weight"),
    [
        ("default", "divergence", 0.01),
        ("demo", "divergence", 0.01),
        ("camelyon16", "distance", 1.0),
        ("tcga-nsclc", "distance", 1.0),
    ],
)
def test_presets_of_the_paper_keep_a_published_reading_of_consistency(name: str, form: str, weight: float) -> None:
    settings = check(preset(name), name)
    assert (settings.consistency_form, settings.consistency_weight) == (form, weight)


def test_settings_and_what_a_model_is_built_from_have_the_same_defaults() -> None:
    settings = settled(TrainSettings())
    defaults = {
        f.name: f.default for f in fields(ModelSpec) if f.default is not MISSING and f.name in settings.model_dump()
    }
    assert len(defaults) > 8
    assert defaults == {name: getattr(settings, name) for name in defaults}

"""params.yaml: one flat key = one typed field = one `-S` key. Settings are checked before any work is done."""

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from sammil_cli import choices
from sammil_cli.errors import IMAGE_VARIABLE, InputError, limit_met
from sammil_cli.settings.choosing import ChoosingSettings
from sammil_cli.settings.convert import ConvertSettings as ConvertSettings
from sammil_cli.settings.sam import SamSettings as SamSettings
from sammil_cli.settings.stage import StageSettings as StageSettings
from sammil_cli.settings.stage import Tolerance as Tolerance
from sammil_cli.settings.stage import min_share_setting, seed_setting, strict_versions_setting
from sammil_cli.settings.stage import setting as _field
from sammil_cli.settings.wsi_sam import WsiSamTrainSettings as WsiSamTrainSettings
from sammil_cli.storage.guarded_yaml import parse_yaml, read_yaml
from sammil_cli.storage.shown_text import shown_value

Auto = Literal["auto"]
_Below1 = Annotated[float, Field(ge=0, lt=1)]

S = TypeVar("S", bound=StageSettings)


def as_yaml(value: object) -> str:
    """A word or number as it is typed into params.yaml: in quotes where YAML would take it for something else."""
    return str(yaml.safe_dump(value, width=10_000, allow_unicode=True)).split("\n")[0]


class DemoSettings(StageSettings):
    """The demo cohort."""

    demo_slides: int = _field(24, "slides to draw", ge=4, le=500)
    demo_seed: int = _field(7, "the same seed draws the same slides", ge=0)
    demo_min_px: int = _field(3000, "shortest side of a slide, level-0 pixels", ge=600)
    demo_max_px: int = _field(6000, "longest side of a slide, level-0 pixels", ge=600)
    demo_difficulty: float = _field(
        0.0, "0 = plain; up to 1: smaller lesions of smaller, hidden cells, more that looks like them", ge=0, le=1
    )


class SegmentSettings(Tolerance):
    """Where tissue is."""

    segmenter: str = _field("saturation", "what separates tissue from glass")
    tissue_mpp: float = _field(8.0, "µm per pixel of the thumbnail that is segmented", gt=0)
    tissue_threshold: int = _field(
        8, "saturation 0-255 from which on a pixel is tissue (saturation only)", ge=0, le=255
    )
    tissue_od_threshold: float = _field(0.06, "optical density from which on a pixel is tissue (od only)", gt=0, le=3)
    tissue_without_pen: bool = _field(True, "pen marks are no tissue")
    tissue_without_borders: bool = _field(True, "black borders and bars of the scan are no tissue")
    tissue_median_um: float = _field(60.0, "width of the median filter, µm", ge=0)
    tissue_close_um: float = _field(30.0, "gaps up to this width are closed, µm", ge=0)
    tissue_min_area_um2: float = _field(250_000.0, "smaller pieces of tissue are dropped, µm²", ge=0)
    tissue_min_hole_um2: float = _field(60_000.0, "smaller holes are filled, µm²", ge=0)
    tissue_max_holes: int = _field(8, "most holes kept in a piece, the largest ones", ge=0)
    artefact_mpp: float | None = _field(
        None, "µm per pixel at which artefacts are scored; null = the thumbnail's, which costs no further reading", gt=0
    )


class PatchSettings(Tolerance):
    """The grid of patches."""

    patch_px: int = _field(512, "patch side in pixels", ge=32, le=8192)
    patch_mpp: float | None = _field(None, "µm per pixel of a patch; null = level 0, as published", gt=0)
    patch_overlap: float = _field(0.0, "share of a patch's side that its neighbour covers, too", ge=0, lt=1)
    patch_edge: Literal["drop", "pad"] = _field(
        "drop", "patches that reach over the edge of the scanned area: drop | pad (kept, white beyond the edge)"
    )
    patch_min_tissue: float = _field(0.25, "smallest share of tissue in a patch", ge=0, le=1)
    patch_max_blank: float = _field(1.0, "patches with a larger share of blank glass are dropped; 1 = none", ge=0, le=1)
    patch_max_pen: float = _field(1.0, "patches with a larger share of pen are dropped; 1 = none", ge=0, le=1)
    patch_max_dark: float = _field(
        1.0, "patches with a larger share of black (folds, dirt) are dropped; 1 = none", ge=0, le=1
    )
    patch_max_blur: float = _field(
        1.0, "patches that are more blurred than this (0 sharp, 1 flat) are dropped; 1 = none", ge=0, le=1
    )


class EncodeSettings(Tolerance):
    """How patches become features."""

    encoder: str = _field("resnet50", "what makes features of patches")
    encoder_backbone: str | None = _field(None, "torchvision and timm only: the model's name, such as squeezenet1_1")
    encoder_weights: str | None = _field(None, "weights file; null = the published one, found like SAM's")
    encoder_input_px: Annotated[int, Field(ge=32, le=1024)] | Auto = _field(
        "auto", "side that patches are resized to; auto = the encoder's own"
    )
    encoder_pooling: Literal["auto", "cls", "cls-mean", "mean"] = _field(
        "auto",
        "how an encoder's tokens become one vector: auto (its own way) | cls | cls-mean | mean; docs/encoders.md has "
        "those of each",
    )
    encode_precision: Literal["float32", "bfloat16", "float16"] = _field("float32", "of the encoder; docs/weights.md")
    encode_backend: Literal["torch", "openvino"] = _field(
        "torch", "torch | openvino (on the CPU, often faster, the same features but for rounding; docs/weights.md)"
    )
    batch_size: int = _field(32, "patches encoded at once", ge=1)
    feature_dtype: Literal["float16", "float32"] = _field("float32", "float16 halves the bags")
    unreadable_share: float = _field(
        0.0,
        "patches that cannot be read (damaged, never stored) are left out up to this share; 0 = the slide is set aside",
        ge=0,
        lt=1,
    )


class ExtractSettings(EncodeSettings):
    """Features."""

    membership_min_share: float = min_share_setting()
    membership_rule: Literal["overlap", "released"] = _field(
        "overlap", "overlap (eq. 3: any patch that a region covers) | released (the published code's corner-in-box)"
    )


class TilesSettings(EncodeSettings):
    """Pre-cut tiles."""

    tiles_mpp: float | None = _field(None, "µm per pixel of the tiles; null = not known, which the bags then say", gt=0)
    tiles_px_level0: int | None = _field(
        None, "side of a tile in level-0 pixels of its slide; null = the step between neighbours", ge=1, le=1 << 20
    )
    tiles_names: str | None = _field(
        None,
        "how names say where tiles lie: a regular expression with the groups x and y (level-0 pixels), or column and "
        "row (counted), such as _(?P<x>[0-9]+)_(?P<y>[0-9]+)$; none = they do not; null = found by itself",
    )


class TrainSettings(ChoosingSettings):
    """Model and training."""

    model: str = _field("sam-mil", "what is trained")
    model_options: dict[str, Any] = _field({}, "settings of one model only, such as {gated: true} for abmil")
    start_from: str | None = _field(
        None, "a file of published weights to start training from (docs/published-weights.md); null = random weights"
    )
    sammil_mode: Literal["paper", "released"] = _field(
        "paper", "paper (eq. 13) | released (what the published code trains: pseudo-bags only); sam-mil only"
    )
    group_features: bool | Literal["auto"] = _field(
        "auto",
        "group features are instances, too (eq. 4): auto (where the model's paper has them: sam-mil) | true | false",
    )
    group_feature_flag: bool = _field(
        False, "one more input to every instance: 1 for a region's mean, 0 for a patch; not in the paper"
    )
    mask_strategy: Literal["none", "random", "non-group", "sam-guided"] = _field(
        "sam-guided", "none | random | non-group | sam-guided (Fig. 3)"
    )
    mask_ratio: float = _field(0.9, "target share of masked instances (eq. 8)", ge=0, lt=1)
    mask_ratio_function: Literal["constant", "linear", "sigmoid"] = _field(
        "sigmoid", "constant | linear | sigmoid (eq. 7)"
    )
    sigmoid_slope: float = _field(5e-4, "a of eq. 7, per pixel of the paper's canvas", gt=0)
    sigmoid_center: Annotated[float, Field(ge=0)] | Literal["median"] = _field(
        5000.0,
        "area with half of the ratio, pixels of the paper's canvas; b = -slope * center; or median: of the slide's "
        "regions, then counted as 5000",
    )
    grouping: Literal["region", "area"] = _field(
        "region", "what a group is, for masks and consistency: region (by id) | area (equal areas are one, as released)"
    )
    pseudo_bags: int = _field(5, "parts of a bag (eq. 6)", ge=1)
    group_features_of: Literal["bag", "pseudo-bag"] = _field(
        "bag",
        "group features of a pseudo-bag: bag (its share of the bag's, as released) | pseudo-bag (means of its own "
        "patches, eq. 6 to the letter)",
    )
    pseudo_bag_weight: float = _field(0.5, "α of eq. 13", ge=0)
    consistency_weight: float = _field(
        0.01, "β of eq. 13; 0 = no consistency; what suits one form and bag size is wrong for another", ge=0
    )
    consistency_form: Literal["divergence", "distance", "variance", "eq12"] = _field(
        "divergence",
        "divergence (from the mean inside regions, alike for any number of patches) | distance (released formula) | "
        "variance (Appendix F) | eq12 (similarity between regions)",
    )
    positive_class: str | None = _field(
        None, "of two classes, the one that sensitivity, F1 and probabilities are of; null = the last of them"
    )
    classes: list[str] | None = _field(None, "order of the classes in tables; null = by name, numbers by value")
    folds: int = _field(5, "outer folds, see folds_by; 1 = one model on all slides, nothing is tested", ge=1)
    folds_by: Literal["patient", "site"] = _field(
        "patient", "what stays together: patient | site (whole sites, column site of labels.csv; patients, too)"
    )
    published_folds: bool = _field(False, "draw the folds as the published code does, in the order of the label file")
    repeats: int = _field(1, "how often the folds are drawn anew", ge=1)
    val_fraction: float = _field(0.2, "share of a fold's training patients that choose epoch and threshold", gt=0, lt=1)
    recipe: Literal["paper", "common"] = _field(
        "paper",
        "what auto means below: paper (how the model's own paper trains it) | common (one recipe for every model, "
        "that of SAM-MIL's paper)",
    )
    epochs: Annotated[int, Field(ge=1)] | Auto = _field("auto", "most passes over the training slides")
    patience: Annotated[int, Field(ge=1)] | Auto = _field(
        "auto", "epochs without a better one after which training stops; 30 in the common recipe"
    )
    min_epochs: Annotated[int, Field(ge=0)] | Auto = _field(
        "auto", "epochs that are always trained; the published loop trains 132"
    )
    chosen_by: Literal["auto", "auc", "loss", "accuracy", "auc-and-accuracy"] = _field(
        "auto",
        "what the kept epoch has the best of on validation: auc | loss | accuracy | auc-and-accuracy (their mean)",
    )
    choose_last: Annotated[int, Field(ge=1)] | Auto | None = _field(
        "auto", "how many epochs at the end the kept one may be among; null = all of them"
    )
    loss: Literal["auto", "cross-entropy", "binary"] = _field(
        "auto", "cross-entropy | binary (one sigmoid per class, averaged)"
    )
    optimiser: Literal["auto", "adam", "adamw", "lookahead-radam"] = _field(
        "auto", "adam (L2) | adamw | lookahead-radam (TransMIL's: k 6, α 0.5, no decay of biases and norms)"
    )
    betas: tuple[_Below1, _Below1] | Auto = _field("auto", "of the optimiser's two means; [0.9, 0.999]")
    learning_rate: Annotated[float, Field(gt=0)] | Auto = _field(
        "auto", "of the first epoch; 0.0002 in the common recipe"
    )
    schedule: Literal["auto", "cosine", "step", "constant"] = _field(
        "auto", "cosine (to final_learning_rate at the last epoch) | step (a fifth from the middle on) | constant"
    )
    final_learning_rate: Annotated[float, Field(ge=0)] | Auto = _field("auto", "where the cosine ends")
    weight_decay: Annotated[float, Field(ge=0)] | Auto = _field("auto", "L2, as Adam's; decoupled with adamw")
    accumulate: Annotated[int, Field(ge=1)] | Auto = _field("auto", "slides whose gradients are averaged for one step")
    clip_norm: Annotated[float, Field(gt=0)] | Auto | None = _field(
        "auto", "largest gradient norm of each part of the model; null = not clipped"
    )
    sampling: Literal["auto", "shuffled", "fixed", "balanced"] = _field(
        "auto", "order of the slides: shuffled | fixed | balanced (drawn, every class as often as the others)"
    )
    dropout: Annotated[float, Field(ge=0, lt=1)] | Auto = _field("auto", "after the embedding")
    class_weights: Literal["none", "balanced"] = _field(
        "none", "none (as published) | balanced (a slide's loss weighs by how rare its class is in the training part)"
    )
    precision: Literal["float32", "bfloat16"] = _field(
        "float32", "float32 | bfloat16 (products in training; prediction is always in float32)"
    )
    seed: int = seed_setting()
    strict_versions: bool = strict_versions_setting()

    @field_validator("classes", mode="before")
    @classmethod
    def _classes_in_quotes(cls, value: object) -> object:
        """YAML reads 0 as a number, no as false, 1.10 as 1.1 and 010 as 8: only text stands as in the labels."""
        if not isinstance(value, list) or any(isinstance(name, list | dict) for name in value):
            return value
        if len({str(name) for name in value}) < len(value):
            raise ValueError("a class is named twice")
        if all(isinstance(name, str) for name in value):
            return value
        names = [name if isinstance(name, str) else as_yaml(name) for name in value]
        fix = f"quote them as they stand in the labels: classes: {names}"
        what = "without quotes these are numbers, truth values or nothing, not names"
        raise PydanticCustomError("unquoted", "{what}", {"what": what, "remedy": f'{fix}; or -S "classes={names}"'})

    @field_validator("model_options", mode="before")
    @classmethod
    def _none_is_empty(cls, value: object) -> object:
        """`model_options:` without anything behind it, as params.yaml has it from the start."""
        return {} if value is None else value

    @field_validator("positive_class", mode="before")
    @classmethod
    def _positive_class_in_quotes(cls, value: object) -> object:
        """YAML reads 1 as a number and no as false: only text stands as in the labels."""
        if not isinstance(value, bool | int | float):
            return value
        name = as_yaml(value)
        fix = f"quote it as it stands in the labels: positive_class: '{name}'"
        what = "without quotes this is no name"
        remedy = f"{fix}; or -S \"positive_class='{name}'\""
        raise PydanticCustomError("unquoted", "{what}", {"what": what, "remedy": remedy})


class EvaluateSettings(StageSettings):
    """Evaluation; all else that it needs stands in the trained models."""

    interval: float = _field(0.95, "confidence level of the intervals", gt=0, lt=1)
    bootstrap_draws: int = _field(2000, "patients are drawn so often for the intervals", ge=100)
    patient_rule: Literal["mean", "max"] = _field(
        "mean", "a patient's probability: mean of its slides | max (two classes: of the slide most probably positive)"
    )
    abstain: float | None = _field(
        None, "share of slides whose class must be among those left open, such as 0.9; null = always decide", gt=0, lt=1
    )


class VisualizeSettings(Tolerance):
    """Pictures."""

    heatmap_mpp: float = _field(8.0, "µm per pixel of the OME-TIFF of evidence", gt=0)
    evidence_ome_tiff: bool = _field(False, "evidence as a pyramidal OME-TIFF as well, to be laid over the slide")
    top_patches: int = _field(6, "patches shown with the largest attention", ge=0, le=32)
    detail_fields: int = _field(3, "fields shown in detail, where most attention lies", ge=0, le=3)
    detail_mpp: float = _field(1.6, "µm per pixel of these fields", gt=0)


STAGES: dict[str, type[StageSettings]] = {
    "demo": DemoSettings,
    "segment": SegmentSettings,
    "patch": PatchSettings,
    "sam": SamSettings,
    "extract": ExtractSettings,
    "train": TrainSettings,
    "evaluate": EvaluateSettings,
    "visualize": VisualizeSettings,
}
# Where `init` was asked for them.
ON_REQUEST: dict[str, type[StageSettings]] = {
    "convert-legacy": ConvertSettings,
    "wsi-sam-train": WsiSamTrainSettings,
    "tiles": TilesSettings,
}


class Settings(
    DemoSettings,
    SegmentSettings,
    PatchSettings,
    SamSettings,
    ExtractSettings,
    TrainSettings,
    EvaluateSettings,
    VisualizeSettings,
    ConvertSettings,
    WsiSamTrainSettings,
    TilesSettings,
):
    """All keys of params.yaml."""

    def stage(self, kind: type[S]) -> S:
        """The settings of one stage only, as its own type."""
        return kind(**{key: getattr(self, key) for key in kind.model_fields})


def load_settings(params: Path | None, assignments: Sequence[str] = ()) -> Settings:
    """Reads params.yaml, then applies `key=value` assignments (values in YAML).

    A key may have DVC's `+` or `++` before it, which adds where the file has no such key.

    Args:
        params: the file; None = defaults only.

    Raises:
        InputError: no such file, no YAML, an unknown key, a wrong type or a value out of range.
    """
    values: dict[str, object] = {} if params is None else _read_yaml(params)
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"-S {shown_value(text)} is not key=value", remedy="for example: -S mask_ratio=0.5")
        try:
            values = assigned(values, key.strip().lstrip("+"), parse_yaml(value, "the value"))
        except InputError as error:
            raise InputError(f"-S {shown_value(text)}: {error.message}", remedy="quote it") from None
    return check(values, str(params) if params else "settings")


ABSTAINS_IN_SAMPLE = (
    "abstain needs out-of-fold probabilities, and in protocol: paper the test folds chose the models",
    "set abstain: null, or train in protocol: honest",
)
_TABLES = [key for key, field in Settings.model_fields.items() if isinstance(field.default, dict)]


def assigned(values: Mapping[str, object], key: str, value: object) -> dict[str, object]:
    """The settings with one more; `model_options.gated` sets a key of a table, and leaves its others."""
    name, dot, inner = key.partition(".")
    if not dot or name not in _TABLES:
        return {**values, key: value}
    table = values.get(name) or {}
    return {**values, name: {**table, inner: value} if isinstance(table, dict) else table}


def check(values: Mapping[str, Any], where: str) -> Settings:
    """Settings from a mapping; `where` is named in errors.

    Raises:
        InputError: an unknown key, a wrong type, a value out of range, a word that is no choice, or `abstain` with
            `protocol: paper`.
    """
    try:
        settings = Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            raise InputError(f"{where}: unknown key {shown_value(key)}", remedy=setting_meant(key)) from None
        remedy = first.get("ctx", {}).get("remedy", f"{key} is: {describe(key)}")
        found = shown_value(first["input"])
        raise InputError(f"{where}: {key}: {found} — {first['msg'].lower()}", remedy=remedy) from None
    if settings.abstain is not None and settings.protocol == "paper":
        message, remedy = ABSTAINS_IN_SAMPLE
        raise InputError(f"{where}: {message}", remedy=remedy)
    for kind in choices.PICKED:  # whatever the command: hours of the stages before it would be in vain
        try:
            choices.check(kind, getattr(settings, str(kind.setting)))
        except InputError as error:
            raise InputError(f"{where}: {kind.setting}: {error.message}", remedy=error.remedy) from None
    return settings


def setting_meant(key: str) -> str:
    """The remedy for an unknown key: the one that was probably meant."""
    near = difflib.get_close_matches(key, Settings.model_fields, 1)
    return f"did you mean {near[0]}?" if near else "params.yaml of sammil init lists all keys"


def describe(key: str) -> str:
    """What a setting is; of one that picks a choice, the words, with what each says of itself; rows have a page."""
    text = str(Settings.model_fields[key].description)
    kind = next((kind for kind in choices.PICKED if kind.setting == key), None)
    if kind is None:
        return text
    words = [f"{word} ({hint})" if hint else word for word, hint in choices.hints(kind).items()]
    return f"{text}: {' | '.join([*words, *([kind.rows_hint] if kind.rows else [])])}"


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        loaded = read_yaml(path)
    except FileNotFoundError:
        mounted = 'mount your project: docker run -v "$PWD":/project …; or ' if IMAGE_VARIABLE in os.environ else ""
        raise InputError(
            f"{path} does not exist", remedy=f"{mounted}run sammil init DIR and work in DIR, or give --params FILE"
        ) from None
    except OSError as error:
        if met := limit_met(error):
            raise met from None
        raise InputError(f"{path} cannot be read: {error.strerror}", remedy="check the path") from None
    if not isinstance(loaded, dict):
        raise InputError(f"{path} is no table of key: value lines", remedy="see params.yaml of sammil init")
    return {str(key): value for key, value in loaded.items()}

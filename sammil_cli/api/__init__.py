"""sammil from Python: `from sammil_cli import api`. Names and signatures are stable by SemVer (docs/python.md)."""

from sammil_cli.api.cohorts import draw_folds, read_cohort
from sammil_cli.api.legacy import convert_legacy, convert_weights
from sammil_cli.api.models import Predicted, bundle, predict, read_bundle
from sammil_cli.api.results import read_bag, read_patches, read_predictions, read_regions, read_tissue
from sammil_cli.api.runs import (
    Evaluation,
    ExternalEvaluation,
    evaluate,
    evaluate_on,
    extract,
    patch,
    sam,
    segment,
    train,
    visualize,
)
from sammil_cli.api.settings import read_settings, settings
from sammil_cli.api.slides import find_slides, find_tissue, lay_patches, make_bag, open_slide, propose_regions
from sammil_cli.api.studies import benchmark, compare
from sammil_cli.api.voice import printing
from sammil_cli.api.weights import fetch_weights
from sammil_cli.cohort.cohort import Cohort, Member, Patient
from sammil_cli.config import Settings
from sammil_cli.errors import InputError, MissingError, SammilError, SlideError
from sammil_cli.features.bag import EncoderFacts, FeatureBag
from sammil_cli.patches.patch_grid import PatchGrid
from sammil_cli.project.process_list import Row
from sammil_cli.project.project import Project
from sammil_cli.regions.region_map import RegionMap
from sammil_cli.runner.how_to_run import Workers
from sammil_cli.slides.slide import Slide
from sammil_cli.tissue.mask import TissueMask
from sammil_cli.training.fold import Fold

__all__ = [
    "Cohort",
    "EncoderFacts",
    "Evaluation",
    "ExternalEvaluation",
    "FeatureBag",
    "Fold",
    "InputError",
    "Member",
    "MissingError",
    "PatchGrid",
    "Patient",
    "Predicted",
    "Project",
    "RegionMap",
    "Row",
    "SammilError",
    "Settings",
    "Slide",
    "SlideError",
    "TissueMask",
    "Workers",
    "benchmark",
    "bundle",
    "compare",
    "convert_legacy",
    "convert_weights",
    "draw_folds",
    "evaluate",
    "evaluate_on",
    "extract",
    "fetch_weights",
    "find_slides",
    "find_tissue",
    "lay_patches",
    "make_bag",
    "open_slide",
    "patch",
    "predict",
    "printing",
    "propose_regions",
    "read_bag",
    "read_bundle",
    "read_cohort",
    "read_patches",
    "read_predictions",
    "read_regions",
    "read_settings",
    "read_tissue",
    "sam",
    "segment",
    "settings",
    "train",
    "visualize",
]

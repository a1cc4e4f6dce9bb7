"""What belongs to one training, in sums: `models/manifest.json` names the table of folds, every fold and every bag.

A fold's facts name its weights in turn. So a table or a fold that was edited, damaged, or left by another training is
seen before it is used. Models that were imported or trained by an earlier version have no manifest, and are used as
they are.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from sammil_cli.errors import InputError
from sammil_cli.storage.files import sha256_file
from sammil_cli.storage.paths import check_id
from sammil_cli.storage.summed import check_sha256, damaged, read_summed, write_summed
from sammil_cli.training.fold import Fold, read_folds
from sammil_cli.training.model_facts import FACTS_FILE

MANIFEST_FILE = "manifest.json"
_AGAIN = "run: sammil train (folds that are trained already come from the result store)"
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The sha256 of the table of folds; of each fold's facts, by the fold's name; of each bag, by slide id."""

    splits_sha256: str
    folds: Mapping[str, str]
    bags: Mapping[str, str]


def write_manifest(models: Path, splits: Path, folds: Collection[str], bags: Mapping[str, str]) -> None:
    """Writes the manifest of a training whose folds and table are written.

    Args:
        folds: names of their folders in `models`. bags: slide id -> sha256.
    """
    sums = {name: sha256_file(models / name / FACTS_FILE) for name in folds}
    facts = {"splits_sha256": sha256_file(splits), "folds": sums, "bags": dict(bags)}
    write_summed(models / MANIFEST_FILE, facts)


def read_manifest(models: Path) -> Manifest | None:
    """The manifest of the models in a folder; None where it has no manifest.

    Raises:
        InputError: `E_DAMAGED`, it is not as it was written.
    """
    path = models / MANIFEST_FILE
    try:
        facts = read_summed(path, _AGAIN)
    except FileNotFoundError:
        return None
    try:
        folds, bags = dict(facts["folds"]), dict(facts["bags"])
        found = Manifest(splits_sha256=str(facts["splits_sha256"]), folds=folds, bags=bags)
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(path, str(error), _AGAIN) from None
    for name in folds:
        check_id(name, path)
    return found


def check_fold(models: Path, name: str, manifest: Manifest | None) -> None:
    """Refuses a fold that is not the one of the training; one that the training has not made passes.

    Raises:
        InputError: `E_DAMAGED`, it is missing or another one.
    """
    if manifest is not None and name in manifest.folds:
        check_sha256(models / name / FACTS_FILE, manifest.folds[name], models / MANIFEST_FILE, _AGAIN)


def read_trained_folds(models: Path, splits: Path) -> tuple[list[Fold], Manifest | None]:
    """The folds of the training that the models are of, and its manifest.

    Raises:
        InputError: nothing is trained yet; `E_DAMAGED`, the manifest or the table is not that of the training.
    """
    manifest = read_manifest(models)
    if manifest is not None and splits.is_file():
        check_sha256(splits, manifest.splits_sha256, models / MANIFEST_FILE, _AGAIN)
    return read_folds(splits), manifest


def check_bags(manifest: Manifest | None, found: Mapping[str, str], folder: Path) -> None:
    """Refuses bags that are not those that the models were trained with.

    Args:
        found: slide id -> sha256 of the bag. folder: of the bags, for the message.

    Raises:
        InputError: counting them, with the first ones' names.
    """
    known = manifest.bags if manifest else {}
    changed = [slide for slide, sha256 in found.items() if known.get(slide, sha256) != sha256]
    if changed:
        named = ", ".join(changed[:_SHOWN]) + (", …" if len(changed) > _SHOWN else "")
        raise InputError(
            f"{len(changed)} of {len(found)} bags in {folder} are not those that the models were trained with: {named}",
            remedy=f"train again: sammil train; or bring them back: dvc checkout {folder}",
        )

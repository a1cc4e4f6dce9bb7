"""Bags with other regions: patch features are taken from bags that there are, and grouped anew. No slide is read."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from sammil_cli import console
from sammil_cli.config import ExtractSettings
from sammil_cli.errors import InputError, SlideError, as_slide_error
from sammil_cli.features.bag import FeatureBag, write_bag
from sammil_cli.features.bag_check import read_checked
from sammil_cli.features.grouping import group_patches
from sammil_cli.features.making import regrouped_with
from sammil_cli.features.quality import measure, quality_record
from sammil_cli.project.process_list import Row, refusal
from sammil_cli.regions.file import read_regions
from sammil_cli.regions.region_map import RegionMap
from sammil_cli.runner.out_folder import maker_of
from sammil_cli.storage.code import code_of
from sammil_cli.storage.files import provenance, sha256_file
from sammil_cli.storage.origin import as_stored, read_key
from sammil_cli.storage.paths import BagPath, RegionsPath
from sammil_cli.storage.summed import write_of_slide

_MOST_AT_ONCE = 8  # slides in memory
_STAGE = "regroup"


def run(
    bags: Path, regions: Path, out: Path, settings: ExtractSettings, slides: list[str], *, workers: int
) -> list[Row]:
    """Writes the bag of each slide with regions from another folder, and its quality beside it (`<slide>.json`).

    What `out` holds of the same bag, regions, membership and code stays; files of other slides are removed.

    Args:
        bags: what `sammil extract` wrote; only features, places and encoder are taken from it.
        regions: what `sammil sam` wrote.
        settings: the membership only; features keep the precision of the bags.
        workers: threads.

    Returns:
        One row per slide: done, reused, or why not.
    """
    out.mkdir(parents=True, exist_ok=True)
    wanted = set(slides)
    gone = [path for path in out.glob("*.h5") if path.stem not in wanted and maker_of(path) == _STAGE]
    for path in gone:
        path.unlink()
        path.with_suffix(".json").unlink(missing_ok=True)
    if gone:
        console.say(f"regroup: removed {len(gone)} bag(s) of slides that take no part now, from {out}")

    def one(slide: str) -> Row:
        try:
            done = _regroup_file(
                slide, BagPath(bags / f"{slide}.h5"), RegionsPath(regions / f"{slide}.h5"), out, settings
            )
        except (SlideError, InputError) as error:
            for suffix in (".h5", ".json"):  # of an earlier run
                (out / f"{slide}{suffix}").unlink(missing_ok=True)
            return refusal(slide, as_slide_error(error))
        return Row(slide_id=slide, status="done" if done else "reused")

    rows = []
    with console.progress(len(slides), "regroup") as bar, ThreadPoolExecutor(min(workers, _MOST_AT_ONCE)) as pool:
        for row in pool.map(one, slides):
            rows.append(row)
            bar.advance(row.slide_id)
    return rows


def regroup(bag: FeatureBag, regions: RegionMap, settings: ExtractSettings) -> FeatureBag:
    """The same patches with other regions.

    Group features are means of the features in the bag. Where these are float16, the means are of rounded features,
    and differ from those of `sammil extract` by that rounding; where they are float32, they are the same to the bit.

    Raises:
        SlideError: `E_INPUT`, the bag does not say where its patches lie.
    """
    if (bag.xy < 0).any() or bag.encoder.patch_px_level0 < 1:
        raise SlideError(
            "E_INPUT",
            "its bag has no coordinates of patches, so nobody knows in which regions they lie",
            remedy="run: sammil extract",
            set_aside=False,
        )
    return group_patches(
        bag.slide_id,
        regions,
        bag.features,
        bag.xy,
        bag.encoder,
        min_share=settings.membership_min_share,
        rule=settings.membership_rule,
        dtype=str(bag.features.dtype),
    )


def _regroup_file(slide: str, bag: BagPath, regions: RegionsPath, out: Path, settings: ExtractSettings) -> bool:
    """Writes one slide's bag and quality; False where they are there already."""
    if not regions.exists():
        raise SlideError("E_UPSTREAM", f"it has no regions in {regions.parent}", remedy="run: sammil sam")
    target, quality = BagPath(out / f"{slide}.h5"), out / f"{slide}.json"
    code = code_of(__name__)
    chosen = {name: getattr(settings, name) for name in ("membership_min_share", "membership_rule")}
    key = {"bag": sha256_file(bag), "regions": sha256_file(regions), "settings": chosen, "code": code.version}
    if quality.exists() and read_key(target) == as_stored(key):
        return False
    before = read_checked(bag)
    made = replace(
        regroup(before, read_regions(regions), settings), made_with=regrouped_with(before.made_with, regions, chosen)
    )
    write_bag(target, made, provenance(_STAGE, key, code.libraries))
    write_of_slide(quality, quality_record(measure(made)))
    return True

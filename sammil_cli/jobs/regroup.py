"""extract, one bag: its patches grouped by regions -> a bag with these, and its quality; no pixel is encoded."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sammil_cli.config import ExtractSettings
from sammil_cli.features.bag import write_bag
from sammil_cli.features.bag_check import read_checked
from sammil_cli.features.grouping import regroup
from sammil_cli.features.making import regrouped_with
from sammil_cli.features.quality import flags, measure, quality_record
from sammil_cli.regions.file import read_regions
from sammil_cli.storage.files import Record
from sammil_cli.storage.paths import BagPath, RegionsPath
from sammil_cli.storage.summed import write_of_slide


@dataclass(frozen=True, kw_only=True)
class RegroupJob:
    """What one bag is made from; of the settings only the membership counts."""

    bag: BagPath
    regions: RegionsPath
    settings: ExtractSettings


def membership(settings: ExtractSettings) -> Mapping[str, object]:
    """What of the settings decides on a bag that is grouped anew."""
    return {name: getattr(settings, name) for name in ("membership_min_share", "membership_rule")}


def work(folder: Path, record: Record, job: RegroupJob) -> list[str]:
    """Writes one slide's bag and its quality into `folder`; returns remarks, and flags on the quality.

    Raises:
        SlideError: see `features.bag_check.read_checked` and `features.grouping.check_placed`.
    """
    before, settings = read_checked(job.bag), job.settings
    made = regroup(
        before, read_regions(job.regions), min_share=settings.membership_min_share, rule=settings.membership_rule
    )
    made = replace(made, made_with=regrouped_with(before.made_with, job.regions, membership(settings)))
    write_bag(BagPath(folder / f"{job.bag.stem}.h5"), made, record)
    quality = measure(made)
    write_of_slide(folder / f"{job.bag.stem}.json", quality_record(quality))
    was, now = len(before.region_area), len(made.region_area)
    replaced = [f"its bag had {was} regions of its own; these {now} are in their place"] if was else []
    return [*replaced, *flags(quality)]

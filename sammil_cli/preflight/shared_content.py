"""Bags of the same content under two names, among all of a folder: for `sammil check --contents`."""

from collections.abc import Collection
from pathlib import Path

from sammil_cli import console
from sammil_cli.features.bag import FeatureBag, read_bag
from sammil_cli.storage.paths import BagPath
from sammil_cli.training.bag_content import Pair, read_contents, same_content


def pairs_in(folder: Path, left_out: Collection[str]) -> list[Pair]:
    """The pairs of bags that share most of their content; bags of other encoders have nothing in common.

    Args:
        left_out: files not to be read, since they are damaged.
    """
    paths = {path.stem: BagPath(path) for path in sorted(folder.glob("*.h5")) if str(path) not in left_out}

    def read(slide_id: str) -> FeatureBag:
        return read_bag(paths[slide_id])

    with console.counted(read, len(paths), "compare bags") as counted:
        return same_content(read_contents(counted, paths))


def sentence(pair: Pair) -> str:
    """One pair, for people."""
    one, other = pair.slides
    what = f"{pair.share:.0%} of the smaller bag's patches are equal" if pair.share else "their means are equal"
    return f"slides {one} and {other} hold the same: {what}"

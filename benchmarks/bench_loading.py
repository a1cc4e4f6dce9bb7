"""Loading of bags against numpy's memory map and other ways to keep them, in the same run.

Prints CPU milliseconds per bag with warm files, one thread, and the ratio to the memory map. Every way ends with a sum
over all features, so that each of them has to touch every page. A bag is verified when a process first opens it: that
is timed apart, with many small bags, too, whose opening by the process beside this one is what counts.
"""

import argparse
import functools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import torch

from sammil_cli.features.bag import EncoderFacts, FeatureBag, read_instances, write_bag
from sammil_cli.regions.membership import Membership
from sammil_cli.storage import hdf5
from sammil_cli.storage.hdf5_layout import key_of
from sammil_cli.storage.hdf5_process import look_into
from sammil_cli.storage.paths import BagPath
from sammil_cli.training.bags import BagFolder, to_tensors

DIM, REGIONS, TARGET = 1024, 200, 2.0

Way = Callable[[Path], torch.Tensor]


def main() -> None:
    """Writes the bags in every form, checks that all forms hold the same, and times them in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bags", type=int, default=10)
    parser.add_argument("--patches", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--small", type=int, default=1000, help="how many bags of 50 patches")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        stems = [Path(folder) / f"bag_{index}" for index in range(asked.bags)]
        for index, stem in enumerate(stems):
            write_all(stem, asked.patches, seed=index)
        for name, way in WAYS.items():
            if not torch.equal(way(stems[0]).half(), mapped_npy(stems[0])):
                raise SystemExit(f"{name} gives other features")
        time.sleep(1.5)  # a file that has just been written is verified each time
        times: dict[str, list[float]] = {name: [] for name in WAYS}
        for _ in range(asked.repeats):
            for name, way in WAYS.items():
                times[name].append(epoch_ms(way, stems))
    base = statistics.median(times["numpy memory map, float16"])
    for name, values in times.items():
        value = statistics.median(values)
        target = f" (target <= {TARGET:g}x)" if name == "sammil bag, float16" else ""
        print(f"{name}: {value:.2f} ms per bag of {asked.patches} patches, {value / base:.2f}x the memory map{target}")
    time_small(asked.small)


def epoch_ms(way: Way, stems: list[Path]) -> float:
    """CPU milliseconds per bag for opening every bag once and touching all of its features."""
    start = time.process_time()
    for stem in stems:
        way(stem).sum()
    return 1000 * (time.process_time() - start) / len(stems)


def first_use(stem: Path) -> torch.Tensor:
    """A bag that this process has not seen: opened by the process beside it, and all of it verified."""
    hdf5._known.pop(key_of(stem.with_suffix(".h5").stat()), None)
    return bag_file(stem)


def time_small(count: int) -> None:
    """What a cohort of small bags costs: opened for the first time, and again."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"bag_{index}.h5" for index in range(count)]
        for index, path in enumerate(paths):
            write_bag(BagPath(path), random_bag(path.stem, 50, index), {})
        time.sleep(1.5)
        look_into(paths[0])  # the process that opens files may have to be started first
        spent = {}
        for name in ("first", "again"):
            start = time.perf_counter()
            for path in paths:
                read_instances(BagPath(path))
            spent[name] = time.perf_counter() - start
    print(
        f"{count} bags of 50 patches: opened and verified in {spent['first']:.2f} s, again in {spent['again']:.2f} s "
        f"({spent['first'] / spent['again']:.1f}x)"
    )


def mapped_npy(stem: Path) -> torch.Tensor:
    """The baseline: nothing but the features, mapped by numpy."""
    return torch.from_numpy(np.load(stem.with_suffix(".npy"), mmap_mode="c"))


def bag_file(stem: Path) -> torch.Tensor:
    """What training does first: features, regions and checks."""
    return to_tensors(read_instances(BagPath(stem.with_suffix(".h5"))), "cpu").features


def kept_bag(stem: Path) -> torch.Tensor:
    """What training does from the second epoch on."""
    return open_folder(stem.parent).load(stem.name).features


@functools.cache
def open_folder(path: Path) -> BagFolder:
    """The bags as one process sees them."""
    return BagFolder(path, "cpu")


def read_h5py(stem: Path) -> torch.Tensor:
    """The features of the same file, read instead of mapped."""
    with h5py.File(stem.with_suffix(".h5"), "r") as file:
        return torch.from_numpy(file["features"][()])


def torch_load(stem: Path) -> torch.Tensor:
    """The form of the published code: single precision in a file of torch."""
    features: torch.Tensor = torch.load(stem.with_suffix(".pt"), weights_only=True)
    return features


WAYS: dict[str, Way] = {
    "numpy memory map, float16": mapped_npy,
    "sammil bag, float16": bag_file,
    "sammil bag, verified": first_use,
    "sammil bag, from its second use on": kept_bag,
    "h5py read, float16": read_h5py,
    "torch.load, float32": torch_load,
}


def random_bag(slide: str, patches: int, seed: int) -> FeatureBag:
    """A bag of float16 features."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((patches, DIM), np.float32).astype(np.float16)
    regions = min(REGIONS, patches)
    return FeatureBag(
        slide_id=slide,
        features=features,
        xy=rng.integers(0, 50_000, (patches, 2)).astype(np.int32),
        region=rng.integers(-1, regions, patches).astype(np.int32),
        region_area=rng.integers(30, 400_000, regions),
        region_area_um2=rng.uniform(1e3, 1e7, regions),
        group_features=features[:regions],
        group_region=np.arange(regions, dtype=np.int32),
        members=Membership(
            start=np.linspace(0, patches, regions + 1).astype(np.int64), patch=np.arange(patches, dtype=np.int32)
        ),
        encoder=EncoderFacts(
            name="bench", weights_sha256=None, dim=DIM, patch_px=256, patch_mpp=0.5, patch_px_level0=512
        ),
    )


def write_all(stem: Path, patches: int, seed: int) -> None:
    """One random bag in every form."""
    bag = random_bag(stem.name, patches, seed)
    write_bag(BagPath(stem.with_suffix(".h5")), bag, {})
    np.save(stem.with_suffix(".npy"), bag.features)
    torch.save(torch.from_numpy(bag.features).float(), stem.with_suffix(".pt"))


if __name__ == "__main__":
    main()

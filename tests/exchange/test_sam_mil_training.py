"""What `export --to sam-mil` writes, read step by step as SAM-MIL's loader of CAMELYON16 does, and trained on.

The steps are those of its specification (docs/old-files.md): label.csv has no header, an id and a number a line; folds
are stratified; a slide is `pt/<id>.pt`, one tensor, and `sam/<id>.h5` with `is_group_feat` and `relative_area`; a batch
is one slide; patches of one area are masked together, group rows stay.
"""

import csv
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold
from torch import Tensor, nn

from sammil_cli.exchange import export_layout
from sammil_cli.features.bag import EncoderFacts, FeatureBag, write_bag
from sammil_cli.regions.membership import Membership

DIM = 6
SLIDES = [f"case.{n}" for n in range(9)]  # every third is a tumour
AREAS = [40, 9000, 7]
REGION = [1, 0, -1, 1, 1, 0, -1, 2]
Item = tuple[Tensor, int, NDArray[np.int64], NDArray[np.int64]]


def bag_of(slide_id: str) -> FeatureBag:
    """Eight patches in three regions, none like another, as float16; the group feature of region 2 is missing."""
    random = np.random.default_rng(int(slide_id[-1]))
    features = random.normal(size=(8, DIM)).astype(np.float16)
    region = np.array(REGION, np.int32)
    return FeatureBag(
        slide_id=slide_id,
        features=features,
        xy=np.array([(512 * (n % 5), 512 * (n // 5)) for n in range(8)], np.int32),
        region=region,
        region_area=np.array(AREAS, np.int64),
        region_area_um2=np.array([1.0, 2.0, 3.0]),
        group_features=np.stack([features[region == r].mean(axis=0) for r in (0, 1)]).astype(np.float16),
        group_region=np.array([0, 1], np.int32),
        members=Membership(start=np.array([0, 2, 5, 6], np.int64), patch=np.array([1, 5, 0, 3, 4, 7], np.int32)),
        encoder=EncoderFacts(
            name="texture", weights_sha256=None, dim=DIM, patch_px=256, patch_mpp=0.5, patch_px_level0=512
        ),
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The export of a project whose positive class comes first by name, with a label too many and a bag without one."""
    project = tmp_path / "project"
    for slide in [*SLIDES, "unlabelled.0"]:
        write_bag(project / "artifacts" / "bags" / f"{slide}.h5", bag_of(slide), {})
    (project / "data").mkdir()
    lines = [f"{slide},{'cancer' if n % 3 == 0 else 'normal, clear'!r}" for n, slide in enumerate(SLIDES)]
    text = "\n".join(["slide_id,label", *lines, "gone,cancer"]).replace("'", '"')
    (project / "data" / "labels.csv").write_text(text + "\n")
    (project / "params.yaml").write_text('classes: ["normal, clear", cancer]\n')
    export_layout.run(project, "sam-mil", tmp_path / "out")
    return tmp_path / "out"


def labels_of(root: Path) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    with (root / "label.csv").open() as stream:
        lines = list(csv.reader(stream))
    return np.array([line[0] for line in lines], dtype=object), np.array([line[1] for line in lines], dtype=object)


def item_of(root: Path, slide_id: str, label: str) -> Item:
    features = torch.load(root / "pt" / f"{slide_id}.pt")
    with h5py.File(root / "sam" / f"{slide_id}.h5", "r", locking=False) as file:
        return features, int(label), np.array(file["is_group_feat"]), np.array(file["relative_area"])


class Core(nn.Module):
    """Their attention core (docs/methods.md §10.2), without dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_to_emb = nn.Sequential(nn.Linear(DIM, 512), nn.ReLU())
        self.attention = nn.Sequential(
            nn.Linear(512, 128, bias=False), nn.ReLU(), nn.Linear(128, 1, bias=False), nn.Softmax(dim=1)
        )
        self.predictor = nn.Linear(512, 2)

    def forward(self, bag: Tensor) -> Tensor:
        embedded = self.patch_to_emb(bag)
        return self.predictor((self.attention(embedded) * embedded).sum(dim=1))


def kept_rows(is_group: Tensor, area: Tensor) -> Tensor:
    """Of each area's patches a part stays, the less the larger it is (eq. 7, 8); group rows stay."""
    kept = [torch.where(is_group[0] == 1)[0]]
    for value in torch.unique(area[area > 0]).tolist():
        rows = torch.where(area[0] == value)[0]
        ratio = 0.9 / (1 + np.exp(-5e-4 * (value - 5000)))
        kept.append(rows[torch.randperm(len(rows))[: len(rows) - int(len(rows) * ratio)]])
    return torch.cat(kept)


def test_the_loader_gets_what_the_bag_holds(root: Path) -> None:
    ids, labels = labels_of(root)
    assert ids.tolist() == SLIDES  # each has its files, and each file has its label
    assert labels.tolist() == ["1", "0", "0"] * 3
    for slide, label in zip(ids, labels, strict=True):
        features, number, is_group, area = item_of(root, slide, label)
        bag = bag_of(slide)
        wanted = np.concatenate([bag.features, bag.group_features]).astype(np.float32)
        assert (features.dtype, number) == (torch.float32, int(label))
        np.testing.assert_array_equal(features.numpy(), wanted)
        assert is_group.tolist() == [0] * 8 + [1] * 2
        assert area.tolist() == [9000, 40, 1, 9000, 9000, 40, 1, 7, 0, 0]


def test_a_training_epoch_runs_on_it(root: Path) -> None:
    torch.manual_seed(0)
    ids, labels = labels_of(root)
    for train, test in StratifiedKFold(n_splits=3).split(ids, labels):
        assert sorted(labels[test].tolist()) == ["0", "0", "1"]
        data = torch.utils.data.DataLoader([item_of(root, ids[n], labels[n]) for n in train], batch_size=1)
        model = Core()
        before = [parameter.detach().clone() for parameter in model.parameters()]
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-4)
        for bag, label, is_group, area in data:
            assert bag.shape == (1, 10, DIM)
            assert is_group.shape == area.shape == (1, 10)
            optimizer.zero_grad()
            rows = kept_rows(is_group, area)
            assert {8, 9} <= set(rows.tolist())
            loss = nn.functional.cross_entropy(model(bag[:, rows]), label)
            loss.backward()
            optimizer.step()
            assert torch.isfinite(loss)
        assert all(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


def test_what_has_no_label_or_no_bag_is_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export_layout.run(root.parent / "project", "sam-mil", root.parent / "again")
    told = " ".join(capsys.readouterr().out.split())
    assert "2 slides have a label or a bag, but not both: label.csv leaves them out" in told
    (root.parent / "project" / "data" / "labels.csv").unlink()
    export_layout.run(root.parent / "project", "sam-mil", root.parent / "third")
    assert "no label.csv, which the loader wants" in " ".join(capsys.readouterr().out.split())
    assert not (root.parent / "third" / "label.csv").exists()


def test_the_same_bags_give_the_same_bytes(root: Path) -> None:
    export_layout.run(root.parent / "project", "sam-mil", root.parent / "again")
    for path in root.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (root.parent / "again" / path.relative_to(root)).read_bytes(), path

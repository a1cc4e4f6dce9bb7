"""A run of SAM-MIL with one slide, written by hand in the two documented forms.

Two pieces of tissue. The first picture that SAM saw is shrunk by 2, the second is not:

    document 0: level-0 box x 1000..2536, y 500..1524, masks 768 wide, 512 high, patches 0 to 5 (3 columns, 2 rows)
    document 1: level-0 box x 3000..3512, y 1500..2268, masks 512 wide, 768 high, patches 6 and 7 (1 column, 2 rows)

    mask 0: the picture's first 256 x 256 pixels, exactly patch 0
    mask 1: x 300..700, y 10..20, a bar inside patches 1 and 2, whose corners lie outside its box
    mask 2: x 0..768, y 256..512, the lower row, patches 3, 4 and 5
    mask 3 (document 1): x 100..200, y 600..700, inside patch 7
"""

import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

PATCH_PX = 512
XY = [(1000, 500), (1512, 500), (2024, 500), (1000, 1012), (1512, 1012), (2024, 1012), (3000, 1500), (3000, 2012)]
FEATURES = np.array([[2.0**i, -i, 0.5 * i, 7.0 - i] for i in range(8)], np.float32)
# The published rule finds members for masks 0 and 2 only.
GROUP_ROWS = np.array([FEATURES[0], FEATURES[3:6].mean(0)], np.float32)


def record(width: int, height: int, x: int, y: int, w: int, h: int) -> dict[str, Any]:
    """What SamAutomaticMaskGenerator writes for a filled rectangle; its masks are transposed arrays."""
    mask = np.zeros((width, height), bool)
    mask[x : x + w, y : y + h] = True
    return {
        "segmentation": mask.T,
        "area": int(mask.sum()),
        "bbox": [x, y, w - 1, h - 1],
        "predicted_iou": 0.9,
        "point_coords": [[float(x), float(y)]],
        "stability_score": 0.8,
        "crop_box": [0, 0, width, height],
    }


def info(x: int, y: int, w: int, h: int, *, vis_level: int = 0, ratio: int = 1, **more: Any) -> dict[str, Any]:
    """The record in front of the masks; numbers are numpy's, as in the published files."""
    start, stop = np.array([x, y], np.int32), np.array([x + w, y + h], np.int32)
    return {
        "patch_size": PATCH_PX,
        "start_x": start[0],
        "start_y": start[1],
        "stop_x": stop[0],
        "stop_y": stop[1],
        "w": np.int32(w),
        "h": np.int32(h),
        "vis_level": vis_level,
        "downsample_ratio": ratio,
        **more,
    }


def first_document() -> list[Any]:
    shapes = [(0, 0, 256, 256), (300, 10, 400, 10), (0, 256, 768, 256)]
    return [info(1000, 500, 1536, 1024, ratio=2), *(record(768, 512, *shape) for shape in shapes)]


def second_document() -> list[Any]:
    return [info(3000, 1500, 512, 768), record(512, 768, 100, 600, 100, 100)]


def write_pickles(path: Path, *documents: Any, protocol: int = 5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(pickle.dumps(document, protocol=protocol) for document in documents))
    return path


@dataclass
class Run:
    """The folder of a run; its parts can be rewritten before converting."""

    root: Path
    slide_id: str = "case.7"  # ids may hold dots
    documents: list[Any] = field(default_factory=lambda: [first_document(), second_document()])

    def write_h5(self, *, groups: bool) -> None:
        rows = np.concatenate([FEATURES, GROUP_ROWS]) if groups else FEATURES
        coords = np.array(XY + [(-1, -1)] * (len(rows) - len(XY)), np.int64)
        path = self.root / "features" / "h5_files" / f"{self.slide_id}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file["features"], file["coords"] = rows, coords

    def write_pt(self, *, groups: bool) -> None:
        rows = np.concatenate([FEATURES, GROUP_ROWS]) if groups else FEATURES
        path = self.root / "features" / "pt_files" / f"{self.slide_id}.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(torch.from_numpy(rows.copy()), path)

    def write_patches(self, **attributes: Any) -> None:
        path = self.root / "patches" / f"{self.slide_id}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file["coords"] = np.array(XY, np.int64)
            file["coords"].attrs.update(attributes or {"patch_size": PATCH_PX, "patch_level": 0})

    def write_segments(self) -> Path:
        return write_pickles(self.root / "segments" / f"{self.slide_id}.pkl", *self.documents)

    def write_process_list(self, *rows: str) -> None:
        lines = ["slide_id,process,status,seg_level", *(rows or [f"{self.slide_id}.svs,0,processed,2"])]
        (self.root / "process_list_autogen.csv").write_text("\n".join(lines) + "\n")

    def write(self, kind: str, *, groups: bool = True) -> "Run":
        (self.write_h5 if kind == "h5" else self.write_pt)(groups=groups)
        self.write_patches()
        self.write_segments()
        self.write_process_list()
        return self

"""Paths of the pipeline's files, each with a type of its own: mypy sees it where two of them are swapped."""

from pathlib import Path
from typing import NewType

SlidePath = NewType("SlidePath", Path)  # a slide of the user's
DrawingPath = NewType("DrawingPath", Path)  # what a person drew on a slide, GeoJSON
TissuePath = NewType("TissuePath", Path)
ArtefactsPath = NewType("ArtefactsPath", Path)
PatchesPath = NewType("PatchesPath", Path)
RegionsPath = NewType("RegionsPath", Path)
BagPath = NewType("BagPath", Path)
BagFolderPath = NewType("BagFolderPath", Path)
BundlePath = NewType("BundlePath", Path)  # a folder: one trained fold
CurvePath = NewType("CurvePath", Path)
CheckpointPath = NewType("CheckpointPath", Path)

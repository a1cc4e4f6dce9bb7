"""Every slide of a folder from its pixels to a feature bag, in Python. Word: the folder."""

# ruff: noqa: T201 - what it found is said

import sys

from sammil_cli import api

chosen = api.settings("demo", patch_px=256, patch_mpp=1.0)  # superpixels and texture: no weights
for slide_id, path in api.find_slides(sys.argv[1]).items():
    try:
        with api.open_slide(path) as slide:
            tissue = api.find_tissue(slide, chosen)
            regions = api.propose_regions(slide, tissue, chosen)
            bag = api.make_bag(slide, api.lay_patches(tissue, chosen), regions, chosen)
            print(slide_id, f"{slide.mpp:.3f} µm", bag.features.shape, bag.group_features.shape, sep="; ")
    except api.SlideError as error:
        print(slide_id, error.code, error.message, error.remedy, sep="; ")

"""sammil convert-legacy: an older tool's files -> feature bags."""

from pathlib import Path
from typing import Any

from sammil_cli import console
from sammil_cli.features.bag import write_bag
from sammil_cli.legacy.sam_mil import Layout, convert_slide, find_layout
from sammil_cli.slides.files import read_mpp_overrides
from sammil_cli.stages.executor import Limits
from sammil_cli.stages.per_slide import Plan, Row, Task, run_plan
from sammil_cli.stages.project import RunOptions, check_only
from sammil_cli.storage.code import code_version
from sammil_cli.storage.files import sha256_file, write_text

CODE = ("storage", "slides", "regions", "features", "legacy", "stages/convert_legacy.py")


def run(
    layout: Layout,
    out: Path,
    process_list: Path,
    slides_table: Path,
    options: RunOptions,
    *,
    patch_px_level0: int | None,
    min_share: float,
) -> list[Row]:
    """Converts every slide of a SAM-MIL run; `<slide>.txt` beside a bag says what was assumed.

    Args:
        layout: see `legacy.layout.find_layout`.
        patch_px_level0: patch side in level-0 pixels where the files do not say.
        min_share: see the setting membership_min_share.
    """
    check_only(options.only, set(layout.slide_ids), str(layout.root))
    mpp = read_mpp_overrides(slides_table)
    chosen = {"patch_px_level0": patch_px_level0, "min_share": min_share, "kind": layout.kind}
    tasks = [
        Task(
            slide_id=slide,
            recipe={
                "files": {path.name: sha256_file(path) for path in _sources(layout, slide) if path.is_file()},
                "mpp": mpp.get(slide),
                "settings": chosen,
                "code": code_version(*CODE),
            },
            arguments=(layout, slide, mpp.get(slide), patch_px_level0, min_share),
        )
        for slide in layout.slide_ids
        if options.only is None or slide in options.only
    ]
    plan = Plan(step="convert-legacy", tasks=tasks, work=work, out=out, process_list=process_list)
    rows = run_plan(plan, options, Limits())
    for note in (*layout.notes, *(f"{slide}: {reason}" for slide, reason in layout.left_out.items())):
        console.say(note)
    return rows


def _sources(layout: Layout, slide: str) -> list[Path]:
    folders = ((layout.features, layout.kind), (layout.segments, "pkl"), (layout.coords, "h5"))
    return [folder / f"{slide}.{suffix}" for folder, suffix in folders if folder is not None]


def work(
    folder: Path,
    record: dict[str, Any],
    layout: Layout,
    slide: str,
    mpp: float | None,
    patch_px_level0: int | None,
    min_share: float,
) -> list[str]:
    """Converts one slide into `folder`."""
    converted = convert_slide(layout, slide, slide_mpp=mpp, patch_px_level0=patch_px_level0, min_share=min_share)
    write_bag(folder / f"{slide}.h5", converted.bag, {**record, "notes": converted.notes})
    write_text(folder / f"{slide}.txt", "".join(f"{note}\n" for note in converted.notes))
    return list(converted.notes)


__all__ = ["find_layout", "run"]

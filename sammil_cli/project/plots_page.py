"""The page that `dvc plots` writes, drawn without a network: DVC's own fetches its drawing library."""

from importlib.resources import files
from pathlib import Path

from sammil_cli.storage.files import write_text

NAME = "plots.html"
_SECTION, _SETTING = "[plots]\n", f"    html_template = {NAME}\n"


def set_up_plots(dvc: Path) -> None:
    """Writes the page's template into the folder `.dvc` of a project, and says in its config that DVC uses it.

    A project that has a template of its own keeps it.
    """
    config = dvc / "config"
    said = config.read_text(encoding="utf-8") if config.exists() else ""
    said += "\n" if said and not said.endswith("\n") else ""  # a hand may have left it out
    if "html_template" not in said:
        before, section, after = said.partition(_SECTION)
        write_text(config, before + (section or _SECTION) + _SETTING + after)
    elif _SETTING.strip() not in said:
        return
    write_text(dvc / NAME, files("sammil_cli.project").joinpath(NAME).read_text(encoding="utf-8"))

"""Plug-ins that clash, break or lack something are refused in words."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from plug_ins import DARK, PLUG_INS, STAGES, every_plug_in, flat, forget, in_the_project, installed, write

from sammil_cli import choices
from sammil_cli.errors import InputError

Sammil = Callable[..., Any]


def run(sammil: Sammil, word: str, name: str) -> Any:
    """Runs the stage of a plug-in with another choice of its kind; formats take part whatever is chosen."""
    if word == "raw":
        return sammil("segment")
    return sammil(STAGES[word], "-S", f"{PLUG_INS[word].kind.setting}={name}")


@every_plug_in
def test_two_of_one_name_are_refused_with_both_named(plugged_project: Path, sammil: Sammil, word: str) -> None:
    own = min(module for _, module in choices._own(PLUG_INS[word].kind)).rpartition(".")[2]
    write(plugged_project / "plugins", own, PLUG_INS[word].text)
    answer = run(sammil, word, own.replace("_", "-"))
    assert answer.code == 2
    assert f"there are two of the {PLUG_INS[word].kind.noun}" in flat(answer.err)
    assert f"{PLUG_INS[word].kind.folder}.{own} and sammil_plugins.{own}" in flat(answer.err)
    assert "rename one" in answer.err


def test_an_installed_one_and_one_of_the_project_or_of_our_own_clash_too(
    tmp_path: Path, clean: pytest.MonkeyPatch
) -> None:
    forget()
    installed(tmp_path, {"norm": PLUG_INS["norm-weighted"], "mean": PLUG_INS["norm-weighted"]}, clean)
    in_the_project(tmp_path, {"norm": PLUG_INS["norm-weighted"]}, clean)
    for word, both in (
        ("norm", "foreign_pkg.norm and sammil_plugins.norm"),
        ("mean", "sammil_cli.mil.models.mean and foreign_pkg.mean"),
    ):
        with pytest.raises(InputError, match=both) as caught:
            choices.load(choices.MODELS, word)
        assert (caught.value.exit_code, caught.value.remedy) == (2, "rename one")
    assert choices.load(choices.MODELS, "max").__name__ == "sammil_cli.mil.models.max"


@every_plug_in
def test_one_that_cannot_be_imported_is_refused_with_why(plugged_project: Path, sammil: Sammil, word: str) -> None:
    write(plugged_project / "plugins", "broken", f"import no_such_library\n{PLUG_INS[word].text}")
    answer = run(sammil, word, "broken")
    assert answer.code == 2
    said = f"the {PLUG_INS[word].kind.noun} 'broken' (sammil_plugins.broken) cannot be imported: ModuleNotFoundError: "
    assert f"{said}No module named" in flat(answer.err)
    assert "mend that file, or install what it needs" in flat(answer.err)
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("word", STAGES)
def test_one_without_what_makes_it_one_is_refused_with_what_it_lacks(
    plugged_project: Path, sammil: Sammil, word: str
) -> None:
    write(plugged_project / "plugins", "bare", '"""Nothing yet."""\n')
    answer = run(sammil, word, "bare")
    assert answer.code == 2
    assert f"unknown {PLUG_INS[word].kind.noun} 'bare'" in flat(answer.err)
    assert f"plugins/bare.py defines no {PLUG_INS[word].kind.offers}" in flat(answer.err)
    assert "Traceback" not in answer.err


@every_plug_in
def test_an_installed_one_that_lacks_it_or_is_not_there_is_refused(
    tmp_path: Path, clean: pytest.MonkeyPatch, word: str
) -> None:
    forget()
    kind = PLUG_INS[word].kind
    bare = replace(PLUG_INS[word], text='"""Nothing yet."""\n')
    placed = installed(tmp_path, {"bare": bare, "gone": bare}, clean)
    placed["gone"][1].unlink()
    for name, said, remedy in (
        ("bare", f"(foreign_pkg.bare) has no {kind.offers}", "docs/add-your-own.md"),
        ("gone", "(foreign_pkg.gone) cannot be imported: ModuleNotFoundError: No module named", "mend that file"),
    ):
        assert name in choices.names(kind)
        with pytest.raises(InputError) as caught:
            choices.load(kind, name)
        assert said in caught.value.message
        assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{DARK}\n1 / 0\n", "(sammil_plugins.broken) cannot be imported: ZeroDivisionError"),
        (f"{DARK}\ndef (:\n", "the plug-in plugins/broken.py cannot be read: invalid syntax (broken.py, line "),
        (DARK.replace("SETTINGS", "_SETTINGS"), "(sammil_plugins.broken) has no SETTINGS"),
    ],
)
def test_one_that_breaks_where_it_is_imported_or_lacks_a_constant_is_refused(
    plugged_project: Path, sammil: Sammil, text: str, said: str
) -> None:
    write(plugged_project / "plugins", "broken", text)
    answer = run(sammil, "dark", "broken")
    assert answer.code == 2
    assert said in flat(answer.err)


def test_the_lock_of_an_editor_is_no_plug_in(plugged_project: Path) -> None:
    (plugged_project / "plugins/.#dark.py").symlink_to("me@here.4711")
    assert "dark" in choices.names(choices.SEGMENTERS)


def test_a_hint_that_is_no_plain_text_is_none(plugged_project: Path) -> None:
    write(plugged_project / "plugins", "hinted", f"HINT = str(1)\n{DARK}")
    assert choices.hints(choices.SEGMENTERS)["hinted"] == ""

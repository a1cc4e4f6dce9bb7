"""Whatever happens to slides, results and store, in any order: a run ends with what a fresh one would make.

A plain model, of the slides and drawings that are there and the setting, against the real store and runner. `make fuzz`
tries more, see the profiles in `conftest.py`.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from unittest.mock import patch

import text_slides as stage
from csv_rows import by_slide
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from inline_executor import open_inline
from processes_seen import dead_owner
from text_slides import CUT, EDITS, LISTS, OUT, SLIDES

from sammil_cli.project.leftovers import tidy
from sammil_cli.project.project import Project, RunOptions
from sammil_cli.runner import per_slide
from sammil_cli.runner.executor import Limits
from sammil_cli.storage.store import is_content, open_store

IDS = st.sampled_from("abcd")
SLIDE_TEXTS, EDIT_TEXTS = ("", "x", "xx", "yx", "y y", CUT), ("p", "q")
TEXTS = st.sampled_from(SLIDE_TEXTS)
TEXT_OF = {hashlib.sha256(text.encode()).hexdigest(): text for text in (*SLIDE_TEXTS, *EDIT_TEXTS)}
WHERE = st.sampled_from(["before", "after"])
SHARE = st.floats(0, 1, exclude_max=True)  # which of several things


class Killed(BaseException):
    """The run ends here."""


dead_tag = cache(dead_owner)  # one for all examples


class StoreMachine(RuleBasedStateMachine):
    """Rules change the disk and the model alike; a run is compared with the model."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = contextlib.ExitStack()
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.stack.enter_context(contextlib.chdir(folder))
        self.stack.enter_context(patch.object(per_slide, "open_executor", open_inline))
        self.stack.enter_context(patch.object(os, "fsync"))  # no power fails here, and disks take long
        self.stack.enter_context(
            patch.dict(os.environ, {f"DVC_{kind}_CONFIG_DIR": folder for kind in ("SYSTEM", "GLOBAL")})
        )
        for path in (SLIDES, EDITS, OUT, Path(".dvc")):
            path.mkdir()
        stage.reset()
        self.slides: dict[str, str] = {}
        self.edits: dict[str, str] = {}
        self.setting = self.settings_tried = 0
        self.put_slide("a", "x")
        self.put_slide("b", "xx")

    def teardown(self) -> None:
        self.stack.close()

    # The user, at any time.

    @rule(slide=IDS, text=TEXTS)
    def put_slide(self, slide: str, text: str) -> None:
        """A new slide, or another one in its place."""
        path = SLIDES / f"{slide}.new"
        path.write_text(text, encoding="utf-8")
        path.replace(SLIDES / f"{slide}.txt")
        self.slides[slide] = text

    @rule(slide=IDS)
    def remove_slide(self, slide: str) -> None:
        (SLIDES / f"{slide}.txt").unlink(missing_ok=True)
        self.slides.pop(slide, None)

    @rule(slide=IDS, text=st.sampled_from([*EDIT_TEXTS, None]))
    def draw(self, slide: str, text: str | None) -> None:
        """A drawing comes, changes or goes."""
        if text is None:
            (EDITS / f"{slide}.txt").unlink(missing_ok=True)
            self.edits.pop(slide, None)
        else:
            stage.put(slide, text, EDITS)
            self.edits[slide] = text

    @rule(back=st.integers(0, 2))
    def set(self, back: int) -> None:
        """Another setting: a new one, or one of before."""
        self.settings_tried += back == 0
        self.setting = max(0, self.settings_tried - back)

    @precondition(lambda self: any(OUT.iterdir()))
    @rule(share=SHARE, text=st.sampled_from(["", "edited", None]))
    def edit_out(self, share: float, text: str | None) -> None:
        """A result is written over, or deleted."""
        path = self._one(OUT, share)
        path.unlink() if text is None else path.write_text(text, encoding="utf-8")

    # Disks, and others than sammil.

    @rule(share=SHARE, bit=st.integers(0, 7), place=SHARE, where=st.sampled_from(["sammil", "files"]))
    def flip(self, share: float, bit: int, place: float, where: str) -> None:
        """A bit of a stored file, a manifest or a file in DVC's cache turns round; mostly of those just written."""
        found = [path for path in Path(".dvc/cache", where).rglob("*") if path.is_file() and path.stat().st_size]
        if found:
            path = sorted(found, key=lambda path: (path.stat().st_mtime_ns, path), reverse=True)[
                int(share**2 * len(found))
            ]
            content = bytearray(path.read_bytes())
            content[int(place * len(content))] ^= 1 << bit
            path.write_bytes(content)

    @rule(share=SHARE, bit=st.integers(0, 7), place=SHARE, where=st.sampled_from(["sammil", "files"]))
    def flip_between_runs(self, share: float, bit: int, place: float, where: str) -> None:
        self.run(under_dvc=True)
        self.flip(share, bit, place, where)
        self.run(under_dvc=True)

    @rule()
    def dvc_takes_all(self) -> None:
        """Results are committed to DVC's cache."""
        for path in OUT.iterdir():
            md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            target = Path(".dvc/cache/files/md5", md5[:2], md5[2:])
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)

    @rule()
    def lose_dvc_cache(self) -> None:
        """`dvc gc`."""
        shutil.rmtree(".dvc/cache/files", ignore_errors=True)

    @rule()
    def tidy(self) -> None:
        tidy(Project(), OUT)
        open_store("text").tidy()

    @rule(slide=IDS)
    def litter(self, slide: str) -> None:
        """What a killed process leaves: half a result, half a copy, a claim on what is wanted next."""
        store = open_store("text")
        half = store.root / f".work-{dead_tag()}-x" / "y"
        half.mkdir(parents=True, exist_ok=True)
        (half / f"{slide}.geojson").write_text("half")
        (OUT / f".work-{dead_tag()}-z").write_text("half")
        plan = stage.make_plan(RunOptions(), self.setting)
        for task in plan.only({slide}).tasks:
            claim = store.root / "claims" / f"{plan.name_of(task)}.0"
            claim.parent.mkdir(parents=True, exist_ok=True)
            claim.write_text(json.dumps({"token": "t", "owner": dead_tag(), "host": "here"}))

    # Runs.

    @rule(slide=IDS, where=WHERE)
    def killed(self, slide: str, where: str) -> None:
        """A run ends in the middle of a slide, and has not listed anything."""
        old = {path: path.read_bytes() for path in LISTS.glob("*")}

        def die() -> None:
            raise Killed

        getattr(stage, where)[slide] = [die]
        with contextlib.suppress(Killed):
            self._run(None)
        stage.reset()
        for path in LISTS.glob("*"):
            path.unlink()
        for path, content in old.items():
            path.write_bytes(content)

    @rule(slide=IDS)
    def run_one(self, slide: str) -> None:
        """`--only`."""
        if slide in self.slides:
            self._run(frozenset({slide}))
            assert {name: text for name, text in stage.outputs().items() if name[0] == slide} == self._made(slide)

    @rule(under_dvc=st.booleans())
    def run(self, under_dvc: bool) -> None:
        """DVC empties the folder of a stage before it runs it."""
        if under_dvc:
            shutil.rmtree(OUT)
            OUT.mkdir()
        self._run(None)
        self._compare()

    @rule(slide=IDS, where=WHERE, other=IDS, text=TEXTS)
    def run_while_slides_come(self, slide: str, where: str, other: str, text: str) -> None:
        """While a slide is worked on, that slide or another one comes, or is replaced."""
        self._run_anew(slide, where, lambda: self.put_slide(other, text))

    @rule(slide=IDS, where=WHERE, other=IDS)
    def run_while_slides_go(self, slide: str, where: str, other: str) -> None:
        self._run_anew(slide, where, lambda: self.remove_slide(other))

    @rule(slide=IDS, where=WHERE, other=IDS, text=st.sampled_from(EDIT_TEXTS))
    def run_while_somebody_draws(self, slide: str, where: str, other: str, text: str) -> None:
        self._run_anew(slide, where, lambda: self.draw(other, text))

    @rule(slide=IDS, text=TEXTS)
    def run_while_a_slide_is_another_one(self, slide: str, text: str) -> None:
        """The very file comes back before the work has ended."""
        stage.after[slide] = [stage.swap_back(slide)]
        self._run_anew(slide, "before", stage.swap(slide, text))

    @invariant()
    def nothing_false_is_stored(self) -> None:
        """What the store would give out was made from what its key says."""
        store = open_store("text")
        for entry in store.root.glob("??/*"):
            result = store.look(entry.name)
            path = entry / f"{result.slide_id}.geojson" if result else entry
            if result is None or not path.is_file() or not is_content(path, result.files[path.name]):
                continue  # a bit of it was flipped: it is not given out
            slide, edit = (TEXT_OF.get(str(result.key[name]), "-") for name in ("slide", "edit"))
            assert json.loads(path.read_text(encoding="utf-8"))["made"] == f"{slide} {edit} {result.key['setting']}"

    def _run_anew(self, slide: str, where: str, event: Callable[[], None]) -> None:
        """A run in which a slide is worked on, for a setting that was never tried, and something happens meanwhile."""
        self.set(0)
        getattr(stage, where)[slide] = [event]
        self.run(under_dvc=False)

    def _run(self, only: frozenset[str] | None) -> None:
        options = RunOptions(only=only)
        per_slide.run_plan(lambda: stage.make_plan(options, self.setting), options, Limits())

    def _compare(self) -> None:
        stage.before.clear()
        stage.after.clear()
        made = [self._made(slide) for slide in self.slides]
        assert stage.outputs() == {name: text for files in made for name, text in files.items()}
        rows = by_slide(LISTS / "text.csv")
        assert {slide: row["code"] for slide, row in rows.items()} == {
            slide: "E_OPEN" if text == CUT else "" for slide, text in self.slides.items()
        }
        assert not list(Path(".dvc").rglob(".work-*"))

    def _made(self, slide: str) -> dict[str, str]:
        """What a fresh run makes of a slide."""
        text = self.slides[slide]
        if text == CUT:
            return {}
        files = {f"{slide}.geojson": f"{text} {self.edits.get(slide, '-')} {self.setting}"}
        return files | ({f"{slide}.txt": f"odd {text}"} if len(text) % 2 else {})

    @staticmethod
    def _one(folder: Path, share: float) -> Path:
        files = sorted(folder.iterdir())
        return files[int(share * len(files))]


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=settings.default.max_examples // 5, stateful_step_count=25)

"""Bundle and report name the weights behind the bags, with their licences and whether they allow commercial use."""

import json
from dataclasses import replace
from pathlib import Path

import judged_study
import pytest

from sammil_cli.bundles.bundle_file import read_bundle
from sammil_cli.bundles.facts import WeightsEntry, parse_facts
from sammil_cli.bundles.gather import weights_of
from sammil_cli.bundles.screen import screen
from sammil_cli.features.encoders import resnet50
from sammil_cli.regions.proposers import sam
from sammil_cli.stages import bundle
from sammil_cli.stages.judged_tables import licence_tables
from sammil_cli.storage.paths import ModelPath
from sammil_cli.training.model_facts import ModelFacts, read_facts

RESNET, VIT_B = resnet50.WEIGHTS, sam.WEIGHTS["vit_b"]


def encoded_by(facts: ModelFacts, sha256: str | None) -> ModelFacts:
    """A model as if its bags were made with ResNet-50 weights of this sha256, and regions of SAM ViT-B."""
    assert facts.trained_on is not None
    made_with = {**facts.trained_on.made_with, "sam": {"proposer": "sam", "weights": VIT_B.sha256}}
    encoder = replace(facts.encoder, name="resnet50", weights_sha256=sha256)
    return replace(facts, encoder=encoder, trained_on=replace(facts.trained_on, made_with=made_with))


def test_the_weights_behind_a_bundle_are_named_with_what_their_licences_allow(done: Path) -> None:
    facts = read_facts(ModelPath(Path("runs/models/repeat_0_fold_0")))
    assert weights_of([facts]) == []  # texture and superpixels have none
    made = WeightsEntry(
        used_for="encoder", name="resnet50", sha256=RESNET.sha256, licence=RESNET.licence, word="resnet50"
    )
    regions = WeightsEntry(
        used_for="regions", name="sam", sha256=VIT_B.sha256, licence="Apache-2.0", word="vit_b", commercial=True
    )
    assert weights_of([encoded_by(facts, RESNET.sha256)]) == [made, regions]
    own = weights_of([encoded_by(facts, "f" * 64)])[0]
    assert (own.licence, own.word, own.commercial) == ("not known", None, None)

    (table,) = licence_tables([encoded_by(facts, "f" * 64)])
    assert [row[:4] for row in table.rows] == [
        ("encoder", "resnet50", "not known", "not stated"),
        ("regions", "vit_b", "Apache-2.0", "yes"),
    ]
    assert licence_tables([facts]) == []

    bundle.run(Path(), Path("model.sammil"))
    written, _ = read_bundle(Path("model.sammil"))
    lines = screen("model.sammil", written.model_copy(update={"weights": [made, regions, own]}))
    assert max(map(len, lines)) <= 80
    shown = " ".join(" ".join(lines).split())
    assert (
        f"of encoder, resnet50: sha256 {RESNET.sha256[:16]}…; licence: {RESNET.licence}; commercial use: not" in shown
    )
    assert f"of regions, sam (vit_b): sha256 {VIT_B.sha256[:16]}…; licence: Apache-2.0; commercial use: yes" in shown
    assert "licence: not known; commercial use: not stated" in shown

    earlier = json.loads(written.model_dump_json(by_alias=True))
    earlier["weights"] = [{"used_for": "encoder", "name": "a", "sha256": "0" * 64, "licence": "MIT"}]
    assert parse_facts(Path("old.sammil"), earlier).weights[0].commercial is None


def test_the_report_names_the_licences_of_what_made_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = replace(judged_study.ENCODER, name="resnet50", weights_sha256=RESNET.sha256)
    monkeypatch.setattr(judged_study, "ENCODER", encoder)
    study = judged_study.make_study(tmp_path, monkeypatch)
    study.run()
    page = study.project.page.read_text(encoding="utf-8")
    licence = RESNET.licence.replace("'", "&#39;")
    assert ">Licences</h2>" in page
    assert f'<th scope="row">encoder</th><td>resnet50</td><td>{licence}</td><td>not stated</td>' in page

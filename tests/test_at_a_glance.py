"""The settings as the shell's completion reads them are those that pydantic checks."""

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from sammil_cli.config import Settings
from sammil_cli.settings.at_a_glance import settings_at_a_glance


def words_of(kind: Any) -> set[str]:
    """The words that a type allows for."""
    if kind in (bool, NoneType):
        return {"true", "false"} if kind is bool else {"null"}
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return {str(word) for word in inner}
    return set().union(*map(words_of, inner)) if origin in (Union, UnionType) else set()


def test_every_setting_is_found_with_its_words() -> None:
    found = settings_at_a_glance()
    assert found.keys() == Settings.model_fields.keys()
    for key, field in Settings.model_fields.items():
        kind = field.annotation.__args__[0] if get_origin(field.annotation) is Annotated else field.annotation
        assert set(found[key].words) == words_of(kind), key


def test_the_default_is_as_it_is_typed() -> None:
    found = settings_at_a_glance()
    assert [
        found[key].default for key in ("model", "mask_ratio", "group_feature_flag", "patch_mpp", "pseudo_bags")
    ] == [*("sam-mil", "0.9", "false", "null", "5")]


def test_the_text_is_that_of_params_yaml() -> None:
    found = settings_at_a_glance()
    assert found["mask_ratio"].text == Settings.model_fields["mask_ratio"].description
    assert found["encoder_pooling"].text == Settings.model_fields["encoder_pooling"].description

"""What `auto` comes to in the settings of a training: what the model's paper does, or the recipe common to all."""

from sammil_cli.config import TrainSettings
from sammil_cli.errors import InputError
from sammil_cli.mil.recipe import COMMON, Recipe
from sammil_cli.training.trained_model import check_model, model_class

_AUTO = "auto"


def settled(settings: TrainSettings) -> TrainSettings:
    """The settings without `auto`, so that `auto` and what it comes to make the same key and model.

    Raises:
        InputError: no such model, or an option it does not have; a flag of group features that it does not take.
    """
    check_model(settings.model, settings.model_options)
    model = model_class(settings.model)
    recipe = COMMON if settings.recipe == "common" else model.recipe
    found: dict[str, object] = {
        name: getattr(recipe, name) for name in Recipe.__dataclass_fields__ if getattr(settings, name) == _AUTO
    }
    if settings.group_features == _AUTO:
        found["group_features"] = model.wants_group_features
    own = settings.model_copy(update=found)
    if own.group_feature_flag and not own.group_features:
        auto = f"auto, which is false of {own.model}" if settings.group_features == _AUTO else "false"
        raise InputError(
            f"group_feature_flag: true marks group features, and group_features is {auto}: it would mark nothing",
            remedy="set group_features: true, or group_feature_flag: false",
        )
    return own

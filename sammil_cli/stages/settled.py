"""What `auto` comes to in the settings of a training: what the model's paper does, or the recipe common to all."""

from sammil_cli.config import TrainSettings
from sammil_cli.mil.recipe import COMMON, Recipe
from sammil_cli.training.bundle import check_model, model_class

_AUTO = "auto"


def settled(settings: TrainSettings) -> TrainSettings:
    """The settings without `auto`, so that `auto` and what it comes to make the same key, bundle and model.

    Raises:
        InputError: no such model, or an option it does not have.
    """
    check_model(settings.model, settings.model_options)
    model = model_class(settings.model)
    recipe = COMMON if settings.recipe == "common" else model.recipe
    found: dict[str, object] = {
        name: getattr(recipe, name) for name in Recipe.__dataclass_fields__ if getattr(settings, name) == _AUTO
    }
    if settings.group_features == _AUTO:
        found["group_features"] = model.wants_group_features
    return settings.model_copy(update=found)

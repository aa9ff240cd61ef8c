"""What a run is: the settings of a training, read from TOML, checked, and hashed to its key. Imports no torch."""

from ralr_viz.recipe.files import (
    load_recipe,
    read_toml_name,
    read_toml_text,
    recipe_names,
    recipe_to_toml,
    run_folder,
)
from ralr_viz.recipe.recipe import (
    METHODS,
    RECIPE_VERSION,
    Recipe,
    changed_settings,
    check_method,
    check_seed,
    parse_overrides,
    recipe_class,
    recipe_from_dict,
)

__all__ = [
    "METHODS",
    "RECIPE_VERSION",
    "Recipe",
    "changed_settings",
    "check_method",
    "check_seed",
    "load_recipe",
    "parse_overrides",
    "read_toml_name",
    "read_toml_text",
    "recipe_class",
    "recipe_from_dict",
    "recipe_names",
    "recipe_to_toml",
    "run_folder",
]

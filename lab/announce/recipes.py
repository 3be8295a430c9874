"""Every row's recipe, from whichever module measures it."""

from lab.announce.measures import SHORT_RECIPES, Recipe
from lab.announce.measures_local import LOCAL_RECIPES
from lab.announce.measures_long import LONG_RECIPES

RECIPES: dict[str, Recipe] = {**SHORT_RECIPES, **LOCAL_RECIPES, **LONG_RECIPES}

"""How much GPU memory a run will need, before it starts: pure arithmetic on configuration numbers.

forecast(config, shape_of(config.model)).verdict(card_gib)   # "fits", "tight", "does not fit"
"""

from gft_lite.memory.advice import settings_that_fit, shrunk, smaller_models, too_large
from gft_lite.memory.card import Card, card_of, this_card
from gft_lite.memory.forecast import CARDS_GIB, GIB, Forecast, Verdict, forecast
from gft_lite.memory.shapes import KNOWN, Shape, known_shape, shape_from_config, shape_of

__all__ = [
    "CARDS_GIB",
    "GIB",
    "KNOWN",
    "Card",
    "Forecast",
    "Shape",
    "Verdict",
    "card_of",
    "forecast",
    "known_shape",
    "settings_that_fit",
    "shape_from_config",
    "shape_of",
    "shrunk",
    "smaller_models",
    "this_card",
    "too_large",
]

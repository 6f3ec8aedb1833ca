"""What early exits come to, in numpy: answers of a cascade, honest confidences, thresholds from a budget."""

from nas.cascade.answer import CascadeAnswer as CascadeAnswer
from nas.cascade.answer import combined_logits as combined_logits
from nas.cascade.answer import decide as decide
from nas.cascade.temperature import fitted_temperature as fitted_temperature
from nas.cascade.temperature import with_temperatures as with_temperatures

__all__ = ["CascadeAnswer", "combined_logits", "decide", "fitted_temperature", "with_temperatures"]

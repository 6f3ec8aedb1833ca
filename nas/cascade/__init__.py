"""What early exits come to, in numpy: answers of a cascade, honest confidences, thresholds from a budget."""

from nas.cascade.answer import CascadeAnswer as CascadeAnswer
from nas.cascade.answer import combined_logits as combined_logits
from nas.cascade.answer import decide as decide
from nas.cascade.answer import exit_answers as exit_answers
from nas.cascade.cost import CascadeCost as CascadeCost
from nas.cascade.temperature import fitted_temperature as fitted_temperature
from nas.cascade.temperature import with_temperatures as with_temperatures
from nas.cascade.thresholds import Cascade as Cascade
from nas.cascade.thresholds import accuracy_reaching as accuracy_reaching
from nas.cascade.thresholds import cascade_at as cascade_at
from nas.cascade.thresholds import cost_within as cost_within
from nas.cascade.validation import Validation as Validation

__all__ = [
    "Cascade",
    "CascadeAnswer",
    "CascadeCost",
    "Validation",
    "accuracy_reaching",
    "cascade_at",
    "combined_logits",
    "cost_within",
    "decide",
    "exit_answers",
    "fitted_temperature",
    "with_temperatures",
]

"""What early exits come to, in numpy: answers of a cascade, honest confidences, thresholds from a budget."""

from nas.cascade.answer import CascadeAnswer as CascadeAnswer
from nas.cascade.answer import combined_logits as combined_logits
from nas.cascade.answer import decide as decide
from nas.cascade.answer import exit_answers as exit_answers
from nas.cascade.cost import CascadeCost as CascadeCost
from nas.cascade.curves import BudgetPoint as BudgetPoint
from nas.cascade.curves import budget_curve as budget_curve
from nas.cascade.curves import exit_confusion as exit_confusion
from nas.cascade.curves import failure_prediction as failure_prediction
from nas.cascade.curves import falling_shares as falling_shares
from nas.cascade.curves import right_from as right_from
from nas.cascade.curves import spread_budgets as spread_budgets
from nas.cascade.temperature import fitted_temperature as fitted_temperature
from nas.cascade.temperature import with_temperatures as with_temperatures
from nas.cascade.thresholds import Cascade as Cascade
from nas.cascade.thresholds import accuracy_reaching as accuracy_reaching
from nas.cascade.thresholds import cascade_at as cascade_at
from nas.cascade.thresholds import cost_within as cost_within
from nas.cascade.validation import Validation as Validation
from nas.cascade.validation import image_weights as image_weights
from nas.cascade.validation import weighted_share as weighted_share

__all__ = [
    "BudgetPoint",
    "Cascade",
    "CascadeAnswer",
    "CascadeCost",
    "Validation",
    "accuracy_reaching",
    "budget_curve",
    "cascade_at",
    "combined_logits",
    "cost_within",
    "decide",
    "exit_answers",
    "exit_confusion",
    "failure_prediction",
    "falling_shares",
    "fitted_temperature",
    "image_weights",
    "right_from",
    "spread_budgets",
    "weighted_share",
    "with_temperatures",
]

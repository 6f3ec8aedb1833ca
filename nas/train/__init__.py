"""Trains networks with several exits on images, evaluates them, and continues where it stopped."""

from nas.train.config import TrainConfig as TrainConfig
from nas.train.evaluation import accuracies as accuracies
from nas.train.evaluation import predict as predict
from nas.train.fitting import fit as fit
from nas.train.history import Epoch as Epoch
from nas.train.history import History as History
from nas.train.short import SHORT_CONFIG as SHORT_CONFIG
from nas.train.short import ShortTraining as ShortTraining

__all__ = ["SHORT_CONFIG", "Epoch", "History", "ShortTraining", "TrainConfig", "accuracies", "fit", "predict"]

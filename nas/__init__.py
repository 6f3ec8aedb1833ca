"""Neural networks that live within a budget: search them, train them with exits, dial them on the device.

A search space is a function that builds a graph; everything else reads the graph. What is exported here
needs no torch; `nas.model`, `nas.train`, `nas.search`, `nas.latency`, `nas.export` and `nas.runtime` are
imported by name.
"""

from nas.budget import Budget as Budget
from nas.budget import Limit as Limit
from nas.choices import Option as Option
from nas.cost import Cost as Cost
from nas.errors import BudgetError as BudgetError
from nas.errors import BundleError as BundleError
from nas.errors import DataError as DataError
from nas.errors import MissingExtraError as MissingExtraError
from nas.errors import NasError as NasError
from nas.errors import SpaceError as SpaceError
from nas.errors import StudyError as StudyError
from nas.errors import TargetError as TargetError
from nas.errors import TrainingError as TrainingError
from nas.graph import Graph as Graph
from nas.graph import Node as Node
from nas.graph import Segment as Segment
from nas.net import Feature as Feature
from nas.net import Net as Net
from nas.net import block as block
from nas.op import Layer as Layer
from nas.op import Op as Op
from nas.op import Shape as Shape
from nas.space import Architecture as Architecture
from nas.space import Candidate as Candidate
from nas.space import SearchSpace as SearchSpace
from nas.space import load_space as load_space

__all__ = [
    "Architecture",
    "Budget",
    "BudgetError",
    "BundleError",
    "Candidate",
    "Cost",
    "DataError",
    "Feature",
    "Graph",
    "Layer",
    "Limit",
    "MissingExtraError",
    "NasError",
    "Net",
    "Node",
    "Op",
    "Option",
    "SearchSpace",
    "Segment",
    "Shape",
    "SpaceError",
    "StudyError",
    "TargetError",
    "TrainingError",
    "block",
    "load_space",
]

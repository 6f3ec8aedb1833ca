"""Images and labels for training: digits, Fashion-MNIST, npz files, image folders, arrays, torch Datasets."""

from nas.data.datasets import MapDataset as MapDataset
from nas.data.sources import load_data as load_data
from nas.data.value import Data as Data

__all__ = ["Data", "MapDataset", "load_data"]

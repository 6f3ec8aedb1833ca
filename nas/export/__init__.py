"""Write trained networks as one bundle of ONNX files, checked and measured in the runtime that ships."""

from nas.export.writing import export as export

__all__ = ["export"]

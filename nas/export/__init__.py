"""Write trained networks as one bundle of ONNX files, checked and measured in the runtime that ships."""

from nas.export.config import ExportConfig as ExportConfig
from nas.export.executorch import write_executorch as write_executorch
from nas.export.writing import export as export

__all__ = ["ExportConfig", "export", "write_executorch"]

"""Writing what was found: arrays, JSON, pictures and a page that needs nothing else."""

from onnx_ig.report.record import AttributionReport
from onnx_ig.report.write import require_place_for_report, write_report

__all__ = ["AttributionReport", "require_place_for_report", "write_report"]

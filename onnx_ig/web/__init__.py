"""A static web page that explains pictures in the browser."""

from onnx_ig.web.site import require_place_for_site, write_site

__all__ = ["require_place_for_site", "write_site"]

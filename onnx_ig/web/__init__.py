"""A static web page that explains pictures in the browser."""

from onnx_ig.web.site import write_site

__all__ = ["write_site"]

"""How exact attributions are and what that takes: the parts of ``python -m tools.accuracy``."""

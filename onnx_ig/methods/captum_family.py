"""Our methods as members of Captum's family: what its wrappers, metrics and language-model classes ask of a method.

The one idea: they ask isinstance, and isinstance asks ``__class__``, which names Captum's class from the moment that
``captum.attr`` is imported. So neither library imports the other, in whichever order a program does.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

_Method = TypeVar("_Method", bound=Callable[..., Any])


def wrapped(method: _Method) -> _Method:
    """Give the method ``__wrapped__``: Captum's wrappers (NoiseTunnel) call that."""

    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    return call  # type: ignore[return-value]


class CaptumMember:
    """A ``captum.attr.GradientAttribution`` to isinstance, and Captum's class of the same name if there is one.

    Only ``__class__`` says so: ``type``, the methods and their answers are this library's.
    """

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        own: type = type(self)
        captum = sys.modules.get("captum.attr")
        if captum is None or not hasattr(captum, "GradientAttribution"):  # not imported, or being imported
            return own
        return _in_family(own, captum)

    def __reduce__(self) -> tuple[Any, ...]:  # pickle's default refuses objects whose __class__ is not their type
        return object.__new__, (type(self),), self.__getstate__()

    @classmethod
    def get_name(cls) -> str:
        """The method's name in words, as in Captum."""
        return "".join(" " + c if c.isupper() and i else c for i, c in enumerate(cls.__name__))

    def has_convergence_delta(self) -> bool:
        """Whether ``attribute`` can return a convergence delta."""
        return False

    def attribute_future(self, *args: Any, **kwargs: Any) -> Any:
        """Not there, as in Captum: call ``attribute`` in a thread, or :meth:`Method.attribute_each`."""
        raise NotImplementedError(f"attribute_future is not implemented for {type(self).__name__}: call attribute")


@functools.cache
def _in_family(own: type, captum: ModuleType) -> type:
    """One class of ``own`` and Captum's of its name, or of the nearest base's name, that makes objects of ``own``."""
    family = captum.GradientAttribution
    named = (getattr(captum, base.__name__, None) for base in own.__mro__)
    counterpart = next((c for c in named if isinstance(c, type) and issubclass(c, family)), family)

    def make(cls: type, *args: Any, **kwargs: Any) -> Any:
        return own(*args, **kwargs)

    described = {"__new__": make, "__doc__": own.__doc__, "__module__": own.__module__}
    return type(own.__name__, (own, counterpart), described)

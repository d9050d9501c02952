"""How settings are declared, and the class of objects that hold them.

A library for this takes 0.15 s to import and to build the class: as long as all that a process does to get at
its first cached file.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, ClassVar

from forebay.config.kinds import Kind


class Setting:
    """The declaration of one setting.

    Attributes:
        description: what it is for, in one sentence.
        kind: what it may be.
    """

    def __init__(self, description: str, kind: Kind, default: Any) -> None:
        self.description = description
        self.kind = kind
        self._default = default

    def default(self) -> Any:
        """Its value where none is given, before `kind` has converted it."""
        return self._default() if callable(self._default) else self._default

    @property
    def is_computed(self) -> bool:
        """Whether its default is not the same everywhere."""
        return callable(self._default) and not self.kind.is_json


def setting(kind: Kind, default: Any, description: str) -> Any:
    """Declares a setting in the body of a class.

    Args:
        default: or a function that returns it.
    """
    return Setting(description, kind, default)


class Settings:
    """An object with settings, which never change.

    Attributes:
        model_fields: the declarations, by name.
    """

    model_fields: ClassVar[dict[str, Setting]]

    def __init_subclass__(cls) -> None:
        cls.model_fields = {name: one for name, one in vars(cls).items() if isinstance(one, Setting)}

    def __setattr__(self, name: str, value: object) -> None:
        raise ValueError(f"settings are frozen: make another object for another {name}")

    def __delattr__(self, name: str) -> None:
        raise ValueError(f"settings are frozen: {name} cannot be deleted")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.model_dump() == self.model_dump()

    __hash__ = None  # type: ignore[assignment]

    def model_dump(self, include: Collection[str] | None = None) -> dict[str, Any]:
        """Every setting, or some, by name."""
        return {name: getattr(self, name) for name in self.model_fields if include is None or name in include}

    def model_dump_json(self) -> str:
        """Every setting, as JSON."""
        return json.dumps(self.model_dump())

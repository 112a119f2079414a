"""Text that must never be shown or saved."""

from typing import NoReturn, Self

SHOWN = "<secret>"


class Secret:
    """Secret text. It prints as `<secret>` in every format, and cannot be pickled."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, only for sending it or comparing a password with it."""
        return self._text

    def __repr__(self) -> str:
        return SHOWN

    def __format__(self, specification: str) -> str:
        return format(SHOWN, specification)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(("secret", self._text))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        msg = "a secret is not written to anything"
        raise TypeError(msg)

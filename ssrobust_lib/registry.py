"""Named collections: corruptions, pretext tasks, networks, data-set loaders.

A module registers what it offers under a name; profiles choose by that name; contract tests loop over all names.
"""

import difflib
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class UnknownNameError(KeyError):
    """A name that no registry entry has; the message lists the known ones."""

    def __str__(self) -> str:
        return self.args[0]


def unknown_name(kind: str, name: object, known: list[str]) -> UnknownNameError:
    """Make the error for a name that is not among the known ones, with the nearest known one as a hint."""
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UnknownNameError(f"unknown {kind} {name!r}: expected one of {', '.join(known)}.{hint}")


class Registry(Generic[T]):
    """Entries of one kind by name, in the order in which they were registered."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that files its argument under `name`; a name can be taken once."""

        def file_entry(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"the {self.kind} {name!r} is registered twice: choose another name")
            self._entries[name] = entry
            return entry

        return file_entry

    def names(self) -> list[str]:
        return list(self._entries)

    def __getitem__(self, name: str) -> T:
        if name not in self._entries:
            raise unknown_name(self.kind, name, self.names())
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

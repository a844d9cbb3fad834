"""Everything that is wrong with an index, gathered so that it can be told at once."""

from dataclasses import dataclass, field

from actrec.errors import UserError

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Kind:
    """One way in which rows can be wrong, and what mends it."""

    what: str
    fix: str


@dataclass(slots=True)
class Problems:
    """What was found so far, by kind.

    Args:
        source: What was read, as the user would name it.
    """

    source: str
    _found: dict[Kind, list[str]] = field(default_factory=dict)

    def add(self, kind: Kind, where: str, detail: str = "") -> None:
        """Note one row: `where` says which, `detail` what stands there."""
        self._found.setdefault(kind, []).append(f"{where}: {detail}" if detail else where)

    def __bool__(self) -> bool:
        return bool(self._found)

    def stop_if_any(self) -> None:
        """Stop with the whole list.

        Raises:
            UserError: each kind with its number of rows, the first 20 of them, and the remedy.
        """
        if not self._found:
            return
        lines = [f"{self.source}: nothing was decoded, because of"]
        for kind, rows in self._found.items():
            lines.append(f"- {kind.what} ({len(rows)}). {kind.fix}")
            lines += [f"    {row}" for row in rows[:_SHOWN]]
            if len(rows) > _SHOWN:
                lines.append(f"    and {len(rows) - _SHOWN} more")
        raise UserError("\n".join(lines))

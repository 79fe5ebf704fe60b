"""What users write beside a run, whoever drives it: a note, and tags to find it by.

annotate(store, "line-1", note="sigma of the paper")
change_tags(store, "line-1", add=["baseline"], remove=["draft"])
"""

from collections.abc import Sequence

from sqlalchemy import Connection

from l2l_snn.storage import rows
from l2l_snn.storage.records import check_note, check_tags
from l2l_snn.storage.store import Store
from l2l_snn.validate import message


def annotate(store: Store, name: str, *, note: str | None = None, tags: Sequence[str] | None = None) -> None:
    """Put a note, tags or both beside a run, in place of those before.

    Args:
        store: the store that has the run.
        name: the run.
        note: plain text, "" removes the note; None leaves it as it is.
        tags: words, none remove all; None leaves them as they are.

    Raises:
        RunUnknown: there is no such run.
        ValueError: the note is too long or not plain, one can't be a tag, or there are too many.
    """
    values = {} if note is None else {"note": check_note(note)}
    values |= {} if tags is None else {"tags": " ".join(check_tags(tags))}

    def body(connection: Connection, again: bool) -> None:
        row = rows.find(connection, store.url_shown, name, lock=True)
        if values:
            rows.annotate(connection, row.id, values)

    store.writing(f"annotating run {name!r}", body)


def change_tags(store: Store, name: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> tuple[str, ...]:
    """Add tags to a run, take others off, and return those that it has then.

    Raises:
        RunUnknown: there is no such run.
        ValueError: one can't be a tag, there are too many, or one that is taken off isn't there.
    """
    add = check_tags(add)

    def body(connection: Connection, again: bool) -> tuple[str, ...]:
        row = rows.find(connection, store.url_shown, name, lock=True)
        before = row.tags.split()
        missing = [tag for tag in remove if tag not in before]
        if missing and not again:
            expected = f"one of {', '.join(before)}" if before else "a tag of the run, which has none"
            raise ValueError(message("--remove", expected, repr(missing[0])))
        kept = check_tags([*(tag for tag in before if tag not in remove), *add])
        rows.annotate(connection, row.id, {"tags": " ".join(kept)})
        return kept

    return store.writing(f"tagging run {name!r}", body)

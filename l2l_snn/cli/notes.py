"""l2l note | tag: what users write beside a run."""

from typing import Annotated

import typer

from l2l_snn.cli.common import RunArgument, StoreOption, complaints, open_store
from l2l_snn.storage import DEFAULT_STORE


def note(
    name: RunArgument,
    text: Annotated[str | None, typer.Argument(metavar="[TEXT]", help="The note; without it, print the note.")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Remove the note.")] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Put a note beside a run in place of the one before, or print it."""
    with complaints(), open_store(store) as opened:
        from l2l_snn.storage.annotations import annotate
        from l2l_snn.validate import message

        if clear and text is not None:
            raise ValueError(message("--clear", "no text beside it", repr(text[:60])))
        if clear or text is not None:
            annotate(opened, name, note=text or "")
        elif found := opened.load(name).note:
            typer.echo(found)


def tag(
    name: RunArgument,
    tags: Annotated[
        list[str] | None, typer.Argument(metavar="[TAG]...", help="Tags to put on it; without any, print those it has.")
    ] = None,
    remove: Annotated[list[str] | None, typer.Option("--remove", metavar="TAG", help="Take a tag off.")] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Put tags on a run or take them off, and print those that it has then; l2l runs --tag finds it."""
    with complaints(), open_store(store) as opened:
        from l2l_snn.storage.annotations import change_tags

        found = change_tags(opened, name, tags or (), remove or ()) if tags or remove else opened.load(name).tags
        if found:
            typer.echo(" ".join(found))

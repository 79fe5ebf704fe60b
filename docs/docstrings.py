"""How the site reads docstrings: fields become a table, typed equations formulas, doctests code."""

import ast
import re
from typing import Any

import griffe
from equations import formulas

DOCTEST = re.compile(r"^(>>> (?:.+\n?)+)", re.MULTILINE)  # up to the next empty line


class Docstrings(griffe.Extension):
    """Read what the code says where the site would not look for it."""

    def on_attribute_instance(self, *, node: Any, attr: griffe.Attribute, **kwargs: Any) -> None:
        """Take the comment behind a field, or behind a constant, as its docstring."""
        if attr.docstring is None and isinstance(node, ast.AST) and attr.endlineno is not None:
            line = attr.lines_collection[attr.filepath][attr.endlineno - 1]
            if found := re.search(r"  # (?!noqa|pyright|type:)(.*)$", line):
                attr.docstring = griffe.Docstring(found[1], parent=attr)

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Set the equations of a docstring as formulas, and its doctests as code."""
        if obj.docstring is not None:
            obj.docstring.value = DOCTEST.sub(r"```pycon\n\1\n```", formulas(obj.docstring.value))

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Show the fields of each class as one table, in place of its signature and of an entry for each."""
        _tabulate_fields(pkg)


def _tabulate_fields(parent: griffe.Module | griffe.Class) -> None:
    for member in list(parent.members.values()):
        if member.is_alias or not isinstance(member, griffe.Module | griffe.Class):
            continue
        _tabulate_fields(member)
        fields = {name: m for name, m in member.members.items() if isinstance(m, griffe.Attribute) and name[0] != "_"}
        fields = {name: field for name, field in fields.items() if field.annotation is not None}
        if isinstance(member, griffe.Class) and fields:
            text = member.docstring.value + "\n\n" if member.docstring else ""
            member.docstring = griffe.Docstring(text + _table(fields), parent=member)
            member.decorators = []  # so that no signature repeats the fields
            for name in fields:
                del member.members[name]


def _table(fields: dict[str, griffe.Attribute]) -> str:
    lines = ["| field | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in fields.items():
        default = "" if field.value is None else f"`{field.value}`"
        meaning = field.docstring.value.replace("\n", " ") if field.docstring else ""
        kind = str(field.annotation).replace("|", "\\|")
        lines.append(f"| `{name}` | `{kind}` | {default} | {meaning.replace('|', chr(92) + '|')} |")
    return "\n".join(lines)

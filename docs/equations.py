"""Typed equations of docstrings, set as formulas in MathML: no script and no font is needed to see them.

    formulas("Return it.\n\n    U_t+1 = (1 - S_t) beta U_t")    # the same text, with <math> in the equation's place

An equation is an indented line after a blank one that has `=` and is no Python. `_` begins an index (`U_t+1`, `e_ij`,
`y_{t-1}`), `/` divides its two neighbours, Greek letters have their names, `sum_t` and `sqrt(x)` are what they say.
Parts apart by `;` or by three spaces stand apart; one without `=` is text.
"""

import ast
import re
from collections.abc import Callable
from html import escape
from typing import NamedTuple

NAMES = "alpha beta gamma delta epsilon eps eta theta kappa mu nu pi rho sigma tau phi omega"
GREEK = dict(zip(NAMES.split(), "αβγδεεηθκμνπρστφω", strict=True))
FUNCTIONS = {"exp", "log", "floor", "max", "min"}
WORDS = {"and", "at", "each", "else", "for", "most", "unless", "where", "with"}
SIGNS = {"-": "−", "*": "∗", "~": "∼", "...": "…", "<=": "≤", ">=": "≥"}
TOKEN = re.compile(
    r"(?P<number>\d+(?:\.\d+)?)|(?P<name>[A-Za-z]+)(?P<digit>\d*)"
    r"(?:_(?P<index>\{[^}]*\}|[A-Za-z0-9]+(?:,[a-z](?![a-z]))?(?:[+-]1)?))?"
    r"|_(?P<below>[A-Za-z0-9]+)|(?P<sign>\+=|<=|>=|\.\.\.|[-+*/^=~<>,:!(){}|.])"
)


class Token(NamedTuple):
    """A piece of an equation as it is typed."""

    kind: str  # "number", "name", "below" (the index of a group) or "sign"
    text: str
    index: str  # of a name, "" without one
    apart: bool  # whether there is a space before it


class Item(NamedTuple):
    """A piece of a formula."""

    kind: str  # "atom", "name", "function", "sum", "word", "group" (in parentheses), "open" (without them) or "sign"
    mathml: str
    inner: str  # of a group, without its parentheses
    apart: bool


class NoEquation(Exception):
    """Raised for what can't be read as an equation."""


def formulas(docstring: str) -> str:
    """Return a docstring with its equations as MathML; what can't be read as an equation stays as it is."""
    return re.sub(r"(?<=\n)\n((?: {4}.*\n?)+)", _replaced, docstring)


def formula(line: str) -> str:
    """Return one typed line as a <math> element.

    Raises:
        NoEquation: it has signs that equations don't have, or parentheses that don't match.
    """
    parts = [part.strip() for part in re.split(r";|\s{3,}(?![+~]?=)", line.strip()) if part.strip()]
    rows = '<mspace width="2em"/>'.join(map(_part, parts))
    return f'<math display="block">{rows}</math>'


def _replaced(found: re.Match[str]) -> str:
    lines = [line.strip() for line in found[1].splitlines()]
    if not re.search(r"[ +~]= | ~ ", lines[0]) or _is_python("\n".join(line[4:] for line in found[1].splitlines())):
        return found[0]
    try:
        return '\n<div class="equation">' + "".join(map(formula, lines)) + "</div>\n"
    except NoEquation:
        return found[0]


def _is_python(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def _part(part: str) -> str:
    prose = len(re.findall(r"(?<![\w_])[a-z]{3,}(?![\w_(])", part)) > 6
    if prose or not re.search("[=~<]", part):
        return f"<mtext>{escape(part)}</mtext>"
    return _joined(_items(_tokens(part), ""))


def _tokens(text: str) -> list[Token]:
    """Return the tokens of a part, the last one first."""
    tokens, place = [], 0
    while place < len(text):
        begin = place + len(text[place:]) - len(text[place:].lstrip())
        found = TOKEN.match(text, begin)
        if found is None:
            raise NoEquation(text[begin:])
        kind = next(kind for kind in ("number", "name", "below", "sign") if found[kind])
        index = (found["digit"] or "") + (found["index"] or "").strip("{}")
        tokens.append(Token(kind, found[kind], index, begin > place))
        place = found.end()
    return tokens[::-1]


def _items(tokens: list[Token], end: str) -> list[Item]:
    """Take tokens up to the sign `end` and return their items."""
    items: list[Item] = []
    while tokens:
        token = tokens.pop()
        if token.kind == "sign" and token.text == end:
            return _structured(items)
        if token.kind == "sign" and token.text in "({|":
            close = {"(": ")", "{": "}", "|": "|"}[token.text]
            inner = _joined(_items(tokens, close))
            tall = "true" if "<mfrac>" in inner else "false"
            whole = f'<mrow><mo stretchy="{tall}">{token.text}</mo>{inner}<mo stretchy="{tall}">{close}</mo></mrow>'
            items.append(Item("group" if close == ")" else "atom", whole, inner, token.apart))
        elif token.kind == "below" and items:
            items.append(Item("atom", f"<msub>{items[-1].mathml}{_index(token.text)}</msub>", "", items.pop().apart))
        elif token.text in ")}" or token.kind == "below":
            raise NoEquation(token.text)
        else:
            items.append(_leaf(token))
    if end:
        raise NoEquation(end)
    return _structured(items)


def _leaf(token: Token) -> Item:
    if token.kind == "number":
        return Item("atom", f"<mn>{token.text}</mn>", "", token.apart)
    if token.kind == "sign":
        return Item("sign", f"<mo>{escape(SIGNS.get(token.text, token.text))}</mo>", token.text, token.apart)
    if token.text in WORDS and not token.index:
        return Item("word", f"<mtext>&nbsp;{token.text}&nbsp;</mtext>", "", token.apart)
    if token.text in ("sum", "int"):
        sign = "<mo>∑</mo>" if token.text == "sum" else "<mo>∫</mo>"
        return Item("sum", f"<munder>{sign}<mi>{token.index}</mi></munder>" if token.index else sign, "", token.apart)
    pieces = ("d", token.text[1:]) if re.fullmatch(f"d([A-Za-z]|{'|'.join(GREEK)})", token.text) else (token.text,)
    base = "".join(f"<mi>{GREEK.get(piece, piece)}</mi>" for piece in pieces)
    base = f"<mrow>{base}</mrow>" if len(pieces) > 1 else base
    if token.index:
        base = f"<msub>{base}{_index(token.index)}</msub>"
    kind = "function" if token.text in FUNCTIONS or token.text == "sqrt" else "name"
    return Item(kind, base, token.text, token.apart)


def _index(text: str) -> str:
    pieces = re.findall(r"[A-Za-z]+|\d+|.", text)
    tag = {True: "mi", False: "mo"}
    marked = [
        f"<mn>{p}</mn>" if p.isdigit() else f"<{tag[p.isalpha()]}>{SIGNS.get(p, p)}</{tag[p.isalpha()]}>"
        for p in pieces
    ]
    return f"<mrow>{''.join(marked)}</mrow>"


def _structured(items: list[Item]) -> list[Item]:
    """Return items with roots, calls, powers, differentials and fractions put together, in this order."""
    items = _calls(items)
    items = _binary(items, "^", lambda base, power: f"<msup>{base.mathml}{_bare(power)}</msup>")
    items = _differentials(items)
    return _binary(items, "/", lambda top, bottom: f"<mfrac>{_bare(top)}{_bare(bottom)}</mfrac>")


def _calls(items: list[Item]) -> list[Item]:
    found: list[Item] = []
    for item in items:
        before = found[-1] if found else None
        if before and before.kind == "function" and item.kind == "group":
            root = f"<msqrt>{item.inner}</msqrt>"
            whole = root if before.inner == "sqrt" else f"<mrow>{before.mathml}{item.mathml}</mrow>"
            found[-1] = Item("atom", whole, "", before.apart)
        else:
            found.append(item)
    return found


def _differentials(items: list[Item]) -> list[Item]:
    found: list[Item] = []
    for item in items:
        if found and found[-1].kind == "name" and found[-1].inner == "d" and item.kind == "name":
            found[-1] = Item("atom", f"<mrow><mi>d</mi>{item.mathml}</mrow>", "", found[-1].apart)
        else:
            found.append(item)
    return found


def _binary(items: list[Item], sign: str, make: Callable[[Item, Item], str]) -> list[Item]:
    """Return items with each `left sign right` made one; a sum takes what follows it with it."""
    found: list[Item] = []
    rest = items[::-1]
    while rest:
        item = rest.pop()
        if item.kind == "sign" and item.inner == sign and found and rest and rest[-1].kind != "sign":
            left = found.pop()
            if left.kind == "sign":
                raise NoEquation(sign)
            right = rest.pop()
            if right.kind == "sum" and rest:
                right = Item("atom", f"<mrow>{right.mathml}{rest.pop().mathml}</mrow>", "", right.apart)
            found.append(Item("atom", make(left, right), "", left.apart))
        else:
            found.append(item)
    return found


def _bare(item: Item) -> str:
    return f"<mrow>{item.inner}</mrow>" if item.kind == "group" else item.mathml


def _joined(items: list[Item]) -> str:
    """Return items side by side, with a thin space where one factor follows another."""
    text = ""
    for before, item in zip([None, *items], items, strict=False):
        if before and item.apart and "sign" not in (before.kind, item.kind) and "word" not in (before.kind, item.kind):
            text += '<mspace width="0.25em"/>'
        text += item.mathml
    return text

"""Formulas of docstrings and READMEs as MathML, which browsers set by themselves.

They are written as people type them, and as `help()` shows them: ``u = x / ||x||``, ``tr(S)**2 / tr(S**2)``,
``R^-T (R^T S R)^1/2 R^-1``. What is no formula of this grammar stays code:

    relation = sum {("=" | "<" | ...) sum}         operators stand between spaces
    sum      = ["-"] term {("+" | "-") term}
    term     = factor {["*" | "@" | "." | "/"] factor}    from the left; "." is the product of two vectors
    factor   = atom {"**" exponent | "^" exponent | "_" index | "'"}
    atom     = number | name | name "(" ... ")" | "(" ... ")" | "||" ... "||" | "|" ... "|" | "E[" ... "]"
"""

from __future__ import annotations

import html
import re

_TOKEN = re.compile(
    r"(?P<space> +)|(?P<number>\d+(?:\.\d+)?(?:e-?\d+)?(?:/\d+)?)|(?P<name>[A-Za-z][A-Za-z0-9]*(?:_[A-Za-z0-9]+)*)"
    r"|(?P<sign>\|\||\*\*|<=|>=|[-=<>+*/@.'()\[\],|^_])"
)
_LETTERS = {"alpha": "α", "beta": "β", "delta": "δ", "eps": "ε", "sigma": "σ", "tau": "τ", "sum": "∑"}
_SIGNS = {"-": "−", "*": "×", ".": "⋅", "<": "&lt;", ">": "&gt;", "<=": "≤", ">=": "≥"}
_FUNCTIONS = {"unit", "map", "fl", "rint", "tr", "log", "exp", "cos", "softmax", "asinh", "hypot", "sqrt", "sum", "E"}
_OF_WHAT_FOLLOWS = {"sum", "tr", "log", "E"}  # without parentheses
_THIN = '<mspace width=".17em"/>'
_RELATIONS = ("=", "<", ">", "<=", ">=")


class _NoFormulaError(Exception):
    """The text is code."""


def mathml(text: str) -> str | None:
    """A formula in MathML; None if the text is no formula."""
    try:
        reader = _Reader(text)
        body = reader.relation()
        if reader.next:
            return None
    except _NoFormulaError:
        return None
    formula = f'<span class="formula"><math alttext="{html.escape(text)}">{body}</math></span>'
    return formula if reader.is_formula else None


def in_page(page: str) -> str:
    """A page with its formulas set; blocks of code stay as they are."""

    def set_one(found: re.Match[str]) -> str:
        text = found["code"]
        return found[0] if text is None else mathml(html.unescape(re.sub("<[^>]*>", "", text))) or found[0]

    return re.sub(r"<pre>.*?</pre>|<code>(?P<code>.*?)</code>", set_one, page, flags=re.DOTALL)


class _Group(str):
    """What stands in parentheses, with them; `inner` is without."""

    inner: str


class _Reader:
    """Reads the tokens of a text from the left, by the grammar above."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, bool]] = []  # each with whether a space stands before it
        place, spaced = 0, False
        while place < len(text):
            found = _TOKEN.match(text, place)
            if found is None:
                raise _NoFormulaError
            if found.lastgroup != "space":
                self.tokens.append((found[0], spaced))
            place, spaced = found.end(), found.lastgroup == "space"
        self.tokens.append(("", True))
        self.place, self.is_formula, self.bars = 0, False, 0

    @property
    def next(self) -> str:
        return self.tokens[self.place][0]

    @property
    def spaced(self) -> bool:
        return self.tokens[self.place][1]

    def take(self, token: str | None = None) -> str:
        """The next token, which must be the one that is given."""
        found = self.next
        if token not in (None, found) or self.place == len(self.tokens) - 1:
            raise _NoFormulaError
        self.place += 1
        return found

    def operator(self) -> str:
        """An operator between spaces."""
        before, token = self.spaced, self.take()
        if not (before and self.spaced):
            raise _NoFormulaError
        self.is_formula = True
        return f"<mo>{_SIGNS.get(token, token)}</mo>"

    def relation(self) -> str:
        found = self.sum()
        while self.next in _RELATIONS:
            found += self.operator() + self.sum()
        return found

    def sum(self) -> str:
        found = ""
        if self.next == "-":
            self.take()
            found = "<mo>−</mo>"
        found += self.term()
        while self.next in ("+", "-"):
            found += self.operator() + self.term()
        return found

    def term(self) -> str:
        above, below = self.factor(), ""
        while True:
            if self.next == "/":
                self.operator()
                below = below + _THIN + self.factor() if below else self.factor()
                continue
            if self.next in ("*", "@", "."):
                token, sign = self.next, self.operator()
                sign = _THIN if token == "@" else sign
            elif self.begins_factor():
                sign = _THIN
                self.is_formula = self.is_formula or self.is_short()
            else:
                return _fraction(above, below)
            above, below = _fraction(above, below) + sign + self.factor(), ""

    def begins_factor(self) -> bool:
        is_bar = self.next in ("||", "|") and not self.bars
        is_atom = self.next == "(" or self.next[:1].isalnum()
        return is_bar or (is_atom and self.spaced)

    def is_short(self) -> bool:
        """Whether the last factor and the next are both what formulas, rather than command lines, are made of."""
        last, following = self.tokens[self.place - 1][0], self.next
        return all(len(token.partition("_")[0]) == 1 or token in _LETTERS for token in (last, following))

    def factor(self) -> str:
        found = self.atom()
        while self.next in ("**", "^", "'", "_") and not self.spaced:
            token = self.take()
            if token == "_":
                found = f"<msub><mrow>{found}</mrow><mi>{self.take()}</mi></msub>"
                continue
            self.is_formula = True
            above = "<mo>⊤</mo>" if token == "'" else self.exponent()
            found = _raised(found, above)
        return found

    def exponent(self) -> str:
        sign = ""
        if self.next == "-":
            self.take()
            sign = "<mo>−</mo>"
        if self.next == "T":
            self.take()
            return sign + "<mo>⊤</mo>"
        if "/" in self.next:
            return sign + f"<mn>{self.take()}</mn>"
        return sign + _bare(self.atom())

    def atom(self) -> str:
        token = self.take()
        if token in ("||", "|"):
            return self.norm(token)
        if token == "(":
            return self.inside(")")
        if token[:1].isdigit():
            return _number(token)
        if not token[:1].isalpha():
            raise _NoFormulaError
        return self.named(token)

    def norm(self, bar: str) -> str:
        if self.bars:
            raise _NoFormulaError
        self.bars, self.is_formula = self.bars + 1, True
        body = self.relation()
        self.take(bar)
        self.bars -= 1
        mark = _bracket("‖" if bar == "||" else "|")
        return f"<mrow>{mark}{body}{mark}</mrow>"

    def inside(self, end: str) -> str:
        bars, self.bars = self.bars, 0
        body = self.relation()
        while self.next == ",":
            self.take()
            body += f"<mo>,</mo>{self.relation()}"
        self.take(end)
        self.bars = bars
        found = _Group(f"<mrow>{_bracket({')': '(', ']': '['}[end])}{body}{_bracket(end)}</mrow>")
        found.inner = body
        return found

    def named(self, name: str) -> str:
        """A name, or a function with what it is of."""
        base = name.partition("_")[0]
        if self.spaced or self.next not in ("(", "["):
            of = _THIN + self.factor() if base in _OF_WHAT_FOLLOWS and self.begins_factor() else ""
            return _plain(name) + of
        self.is_formula = self.is_formula or base in _FUNCTIONS
        end = ")" if self.take() == "(" else "]"
        if end == "]" and name != "E":
            raise _NoFormulaError
        of = self.inside(end)
        return f"<msqrt>{_bare(of)}</msqrt>" if name == "sqrt" else _plain(name) + of


def _bracket(sign: str) -> str:
    return f'<mo stretchy="false">{sign}</mo>'


def _plain(name: str) -> str:
    """A name with its index, if it has one; Greek letters by their signs."""
    base, _, index = name.partition("_")
    if len(base) > 1 and base not in _LETTERS and len(index) > 2:
        return f"<mi>{name}</mi>"
    sign = "<mo>∑</mo>" if base == "sum" else f"<mi>{_LETTERS.get(base, base)}</mi>"
    if index == "bar":
        return f"<mover>{sign}<mo>¯</mo></mover>"
    return f"<msub>{sign}<mi>{index}</mi></msub>" if index else sign


def _raised(base: str, above: str) -> str:
    if base.startswith("<msub>"):  # a name with its index
        return f"<msubsup>{base.removeprefix('<msub>').removesuffix('</msub>')}<mrow>{above}</mrow></msubsup>"
    return f"<msup><mrow>{base}</mrow><mrow>{above}</mrow></msup>"


def _number(token: str) -> str:
    if "/" in token:
        return "<mfrac>" + "".join(f"<mn>{part}</mn>" for part in token.split("/")) + "</mfrac>"
    factor, _, power = token.partition("e")
    if not power:
        return f"<mn>{token}</mn>"
    sign, digits = ("<mo>−</mo>" if power[0] == "-" else ""), power.lstrip("-")
    times = "" if factor == "1" else f"<mn>{factor}</mn><mo>×</mo>"
    return f"{times}<msup><mn>10</mn><mrow>{sign}<mn>{digits}</mn></mrow></msup>"


def _fraction(above: str, below: str) -> str:
    return f"<mfrac><mrow>{_bare(above)}</mrow><mrow>{_bare(below)}</mrow></mfrac>" if below else above


def _bare(body: str) -> str:
    """Without the parentheses around it, which a line above or below makes needless."""
    return body.inner if isinstance(body, _Group) else body

"""The part of ProVerif's typed language that the models use: everything declared, every term of the right type.

ProVerif itself says more, but is not installed everywhere; this finds a slip of the pen. `check` raises `Mistake`.
"""

import re
from dataclasses import dataclass, field

TOKEN = re.compile(r"==>|<>|&&|\|\||inj-event|[A-Za-z_]\w*|\d+|[(),;:.=!|\[\]]")
WORDS = """
    among axiom channel choice clauses const def diff do elimtrue else equation equivalence event expand fail for
    forall foreach free fun get if implementation in inj-event insert lemma let letfun letproba new noninterf
    noselect not nounif or otherwise out param phase pred proba process proof public_vars putbegin query reduc
    restriction secret select set suchthat sync table then type weaksecret yield
"""
"""Of the language: no name is one of them."""
KEYWORDS = frozenset(WORDS.split())
BITS = "bitstring"


class Mistake(AssertionError):
    """What is wrong, and with what follows it."""


@dataclass
class Model:
    """Names declared: types, values by type, functions and events and processes by the types that they take."""

    types: set[str] = field(default_factory=lambda: {BITS, "bool", "channel"})
    values: dict[str, str] = field(default_factory=lambda: {"true": "bool", "false": "bool"})
    functions: dict[str, tuple[list[str], str]] = field(default_factory=dict)
    events: dict[str, list[str]] = field(default_factory=dict)
    processes: dict[str, list[str]] = field(default_factory=dict)
    queries: int = 0


class Reader:
    """Recursive descent, types on the way."""

    def __init__(self, text: str):
        bare = re.sub(r"\(\*.*?\*\)", " ", text, flags=re.DOTALL)
        left = re.sub(r"\s", "", TOKEN.sub("", bare))
        self.left: list[str] = TOKEN.findall(bare)
        self.model = Model()
        self.demand(not left, f"unknown characters {left!r}")

    def demand(self, true: object, what: str) -> None:
        if not true:
            raise Mistake(f"{what}, at: {' '.join(self.left[:12])} ...")

    def at(self, *tokens: str) -> bool:
        return self.left[: len(tokens)] == [*tokens]

    def accept(self, token: str) -> bool:
        if self.at(token):
            del self.left[0]
            return True
        return False

    def need(self, token: str) -> None:
        self.demand(self.accept(token), f"expected {token!r}")

    def name(self) -> str:
        self.demand(self.left and self.left[0].isidentifier() and self.left[0] not in KEYWORDS, "expected a name")
        return self.left.pop(0)

    def type(self) -> str:
        kind = self.left.pop(0)
        self.demand(kind in self.model.types, f"no type {kind}")
        return kind

    def listed(self, one, end: str = ")") -> list:
        """Things with commas between them, up to the closing bracket."""
        found = []
        while not self.accept(end):
            if found:
                self.need(",")
            found.append(one())
        return found

    # ------------------------------------------------------------------ declarations
    def all(self) -> Model:
        kinds = {"query": self.query, "equation": self.rewriting, "reduc": self.rewriting, "let": self.macro}
        kinds |= {"free": self.free, "const": self.free, "type": self.sort, "fun": self.function, "event": self.event}
        while not self.accept("process"):
            self.demand(self.left and self.left[0] in (*kinds, "weaksecret"), "expected a declaration or `process`")
            kind = self.left.pop(0)
            if kind == "weaksecret":
                self.model.queries += 1
                self.demand(self.name() in self.model.values, "expected a declared value")
            else:
                kinds[kind]()
            self.need(".")
        self.process(dict(self.model.values))
        self.demand(not self.left, "expected the end")
        return self.model

    def sort(self) -> None:
        self.model.types.add(self.name())

    def new(self, name: str, names: dict) -> str:
        model = self.model
        fresh = not any(
            name in known for known in (model.values, model.functions, model.events, model.processes, names)
        )
        self.demand(fresh, f"{name} is declared twice")
        return name

    def options(self) -> None:
        if self.accept("["):
            self.demand(
                set(self.listed(lambda: self.left.pop(0), "]")) <= {"private", "data", "typeConverter"}, "option"
            )

    def free(self) -> None:
        names = [self.new(self.name(), {})]
        while self.accept(","):
            names.append(self.new(self.name(), {}))
        self.need(":")
        self.model.values |= dict.fromkeys(names, self.type())
        self.options()

    def function(self) -> None:
        name = self.new(self.name(), {})
        self.need("(")
        takes = self.listed(self.type)
        self.need(":")
        self.model.functions[name] = takes, self.type()
        self.options()

    def event(self) -> None:
        name = self.new(self.name(), {})
        self.need("(")
        self.model.events[name] = self.listed(self.type)

    def variables(self, end: str) -> dict[str, str]:
        found: dict[str, str] = {}
        while not self.accept(end):
            if found:
                self.need(",")
            name = self.new(self.name(), found)
            self.need(":")
            found[name] = self.type()
        return found

    def rewriting(self) -> None:
        """Of an equation, or of a destructor, which it declares."""
        self.need("forall")
        known = self.variables(";")
        if self.left[0] in self.model.functions:
            kind = self.term(known)
            self.need("=")
            self.demand(self.term(self.model.values | known) == kind, "sides of different types")
            return
        name = self.new(self.name(), {})
        self.need("(")
        takes = self.listed(lambda: self.term(known))
        self.need("=")
        self.model.functions[name] = takes, self.term(self.model.values | known)

    def macro(self) -> None:
        name = self.new(self.name(), {})
        self.need("(")
        takes = self.variables(")")
        self.need("=")
        self.process(self.model.values | takes)
        self.model.processes[name] = [*takes.values()]

    # ------------------------------------------------------------------ terms
    def term(self, known: dict[str, str]) -> str:
        """The type."""
        if self.accept("("):
            kinds = self.listed(lambda: self.term(known))
            return kinds[0] if len(kinds) == 1 else BITS
        if self.accept("choice"):
            self.need("[")
            one, other = self.listed(lambda: self.term(known), "]")
            self.demand(one == other, "a choice of two types")
            return one
        name = self.name()
        if self.accept("("):
            self.demand(name in self.model.functions, f"no function {name}")
            takes, gives = self.model.functions[name]
            self.arguments(name, takes, known)
            return gives
        self.demand(name in known, f"{name} is not declared")
        return known[name]

    def arguments(self, name: str, takes: list[str], known: dict[str, str]) -> None:
        given = self.listed(lambda: self.term(known))
        self.demand(given == takes, f"{name} takes {takes}, not {given}")

    def pattern(self, known: dict[str, str], kind: str = "") -> tuple[str, dict[str, str]]:
        """Its type, and the variables that it binds; ``kind`` is what its place says of the type."""
        if self.accept("="):
            return self.term(known), {}
        if self.accept("("):
            return BITS, self.inside(self.listed(lambda: self.pattern(known)))
        name = self.name()
        if self.accept("("):
            takes, gives = self.model.functions[name]
            places = iter(takes)
            return gives, self.inside(self.listed(lambda: self.pattern(known, next(places))))
        self.demand(
            name not in self.model.functions | self.model.events | self.model.processes, f"{name} is a function"
        )
        kind = self.type() if self.accept(":") else kind
        self.demand(kind, f"the type of {name} is open")
        return kind, {name: kind}

    @staticmethod
    def inside(patterns: list[tuple[str, dict[str, str]]]) -> dict[str, str]:
        return {name: kind for _, names in patterns for name, kind in names.items()}

    # ------------------------------------------------------------------ processes
    def process(self, known: dict[str, str]) -> None:
        """All that is in parallel."""
        self.one(known)
        while self.accept("|"):
            self.one(known)

    def then(self, known: dict[str, str]) -> None:
        """What follows behind a semicolon, if there is one: all that is in parallel there."""
        if self.accept(";"):
            self.process(known)

    def alone(self, known: dict[str, str]) -> None:
        """One process; who puts another beside it without parentheses may mean the one thing or the other."""
        self.one(known)
        self.demand(not self.at("|"), "expected parentheses")

    def one(self, known: dict[str, str]) -> None:
        known = dict(known)
        if self.accept("0"):
            return
        if self.accept("!"):
            self.one(known)
        elif self.accept("("):
            self.process(known)
            self.need(")")
        elif self.accept("new"):
            name = self.name()
            self.need(":")
            known[name] = self.type()
            self.then(known)
        elif self.left[0] in ("in", "out"):
            self.exchange(known)
        elif self.accept("event"):
            name = self.name()
            self.need("(")
            self.arguments(name, self.model.events[name], known)
            self.then(known)
        elif self.accept("phase"):
            self.demand(self.left.pop(0).isdigit(), "expected a number")
            self.then(known)
        elif self.left[0] in ("let", "if"):
            self.condition(known)
        else:
            name = self.name()
            self.demand(name in self.model.processes, f"no process {name}")
            self.need("(")
            self.arguments(name, self.model.processes[name], known)

    def exchange(self, known: dict[str, str]) -> None:
        way = self.left.pop(0)
        self.need("(")
        self.demand(known.get(self.name()) == "channel", "expected a channel")
        self.need(",")
        if way == "out":
            self.term(known)
        else:
            known |= self.pattern(known)[1]
        self.need(")")
        self.then(known)

    def condition(self, known: dict[str, str]) -> None:
        if self.accept("if"):
            self.compared(known)
            while self.accept("&&"):
                self.compared(known)
            self.need("then")
            self.alone(known)
            return
        self.need("let")
        plain = self.left[1] == "="  # one name, whose type is that of the term
        kind, names = ("", {self.name(): ""}) if plain else self.pattern(known)
        self.need("=")
        found = self.term(known)
        self.demand(found == kind or plain, f"a pattern of {kind} against {found}")
        self.need("in")
        self.alone(known | (dict.fromkeys(names, found) if plain else names))

    def compared(self, known: dict[str, str]) -> None:
        one = self.term(known)
        self.demand(self.accept("=") or self.accept("<>"), "expected a comparison")
        self.demand(self.term(known) == one, "a comparison of two types")

    # ------------------------------------------------------------------ queries
    def query(self) -> None:
        self.model.queries += 1
        known = self.model.values | self.variables(";")
        self.fact(known)
        while self.left[0] in ("&&", "||", "==>"):
            del self.left[0]
            self.fact(known)

    def fact(self, known: dict[str, str]) -> None:
        if self.accept("("):
            self.fact(known)
            while self.accept("&&") or self.accept("||"):
                self.fact(known)
            self.need(")")
        elif self.accept("event") or self.accept("inj-event"):
            self.need("(")
            name = self.name()
            self.need("(")
            self.arguments(name, self.model.events[name], known)
            self.need(")")
        elif self.accept("attacker"):
            self.need("(")
            self.term(known)
            self.need(")")
        elif not self.accept("false"):
            self.compared(known)


def check(text: str) -> Model:
    """Raises `Mistake`; what is declared."""
    return Reader(text).all()

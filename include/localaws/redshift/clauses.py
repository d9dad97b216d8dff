"""Reading COPY's and UNLOAD's own syntax: words, strings and parentheses after the target."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlglot.tokens import Token, TokenType

from localaws.redshift.dialect import tokens
from localaws.redshift.errors import RedshiftError

ROLE = re.compile(r"arn:aws[\w-]*:iam::\d{12}:role/[\w+=,.@/-]+(,arn:aws[\w-]*:iam::\d{12}:role/[\w+=,.@/-]+)*")
_STRINGS = (TokenType.STRING, TokenType.RAW_STRING, TokenType.HEREDOC_STRING, TokenType.NATIONAL_STRING)


@dataclass(frozen=True)
class Word:
    """A token, or one word of a token that has several (sqlglot reads PARTITION BY as one)."""

    text: str
    is_string: bool
    start: int


def _words(token: Token) -> list[Word]:
    if token.token_type in _STRINGS:
        return [Word(token.text, True, token.start)]
    if token.token_type == TokenType.IDENTIFIER:
        return [Word(token.text, False, token.start)]
    return [Word(found.group(), False, token.start + found.start()) for found in re.finditer(r"\S+", token.text)]


class Clauses:
    """The tokens of a statement, taken one after the other."""

    def __init__(self, sql: str):
        self._tokens = [word for token in tokens(sql) for word in _words(token)]
        self._at = 0

    @property
    def ended(self) -> bool:
        """Whether every token was taken."""
        return self._at >= len(self._tokens)

    def word(self) -> str:
        """The next token in upper case, without taking it; empty at the end, and for a string."""
        if self.ended or self._tokens[self._at].is_string:
            return ""
        return self._tokens[self._at].text.upper()

    def take(self, *words: str) -> bool:
        """Take the next tokens if they are these words."""
        end = self._at + len(words)
        if [token.text.upper() for token in self._tokens[self._at : end]] != list(words):
            return False
        if any(token.is_string for token in self._tokens[self._at : end]):
            return False
        self._at = end
        return True

    def expect(self, *words: str) -> None:
        """Take these words.

        :raises RedshiftError: something else comes.
        """
        if not self.take(*words):
            raise self.error()

    def string(self) -> str:
        """Take a string; an ``AS`` before it is read past."""
        self.take("AS")
        if self.ended or not self._tokens[self._at].is_string:
            raise self.error()
        self._at += 1
        return self._tokens[self._at - 1].text

    def number(self) -> float:
        """Take a number, bare or in quotes; an ``AS`` before it is read past."""
        self.take("AS")
        if self.ended:
            raise self.error()
        text = self._tokens[self._at].text
        if not re.fullmatch(r"\d+(\.\d+)?", text):
            raise self.error()
        self._at += 1
        return float(text)

    def name(self) -> str:
        """Take an identifier, folded to lower case."""
        if self.ended or self._tokens[self._at].is_string or not re.match(r"[\w#]", self.word()):
            raise self.error()
        self._at += 1
        return self._tokens[self._at - 1].text.lower()

    def names(self) -> list[str]:
        """Take identifiers in parentheses."""
        self.expect("(")
        found = [self.name()]
        while self.take(","):
            found.append(self.name())
        self.expect(")")
        return found

    def on_off(self, default: bool = True) -> bool:
        """Take ON, OFF, TRUE or FALSE, if one comes."""
        for word, value in (("ON", True), ("TRUE", True), ("OFF", False), ("FALSE", False)):
            if self.take(word):
                return value
        return default

    def credentials(self) -> bool:
        """Take an authorization clause, if one comes.

        :raises RedshiftError: the role is none.
        """
        if self.take("IAM_ROLE"):
            if self.take("DEFAULT"):
                return True
            role = self.string()
            if role.lower() != "default" and not ROLE.fullmatch(role):
                raise RedshiftError(f"IAM role ARN '{role}' is not valid; expected 'arn:aws:iam::<account>:role/<name>'")
            return True
        if self.take("CREDENTIALS"):
            text = self.string()
            if not text.startswith("aws_iam_role="):
                raise RedshiftError("CREDENTIALS takes 'aws_iam_role=<arn>' here; keys in SQL are not served")
            return True
        return False

    def error(self) -> RedshiftError:
        """The syntax error at the next token."""
        if self.ended:
            return RedshiftError("syntax error at end of input")
        token = self._tokens[self._at]
        return RedshiftError(f'syntax error at or near "{token.text}"\n  Position: {token.start + 1}')

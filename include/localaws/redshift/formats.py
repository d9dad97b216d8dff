"""Redshift's date and time formats (``YYYY-MM-DD HH24:MI:SS``) as strftime's, for functions and for COPY."""

from __future__ import annotations

import re

from sqlglot import exp

from localaws.redshift.errors import NotServed

# Longest first, so that HH24 is not read as HH and 24.
_TOKENS = {
    "YYYY": "%Y", "HH24": "%H", "HH12": "%I", "IYYY": "%G", "DDD": "%j", "Mon": "%b", "YY": "%y", "MM": "%m", "DD": "%d",
    "HH": "%I", "MI": "%M", "SS": "%S", "MS": "%g", "US": "%f", "AM": "%p", "PM": "%p", "IW": "%V",
}  # fmt: skip


def strftime_text(model: str, where: str, *, hour24: bool = False) -> str:
    """The strftime format of one of Redshift's.

    :param model: Redshift's format, such as ``YYYY-MM-DD``.
    :param where: who asks, for the error (``TO_CHAR``).
    :param hour24: ``HH`` means 0-23, as in COPY's TIMEFORMAT.
    :raises NotServed: the format has a part that is not served (names padded with blanks, numbers, ...).
    """
    out, rest = [], model
    while rest:
        for part, directive in _TOKENS.items():
            if rest.startswith(part) or (part != "Mon" and rest.upper().startswith(part)):
                out.append("%H" if hour24 and part == "HH" else directive)
                rest = rest[len(part) :]
                break
        else:
            quoted = re.match(r'"([^"]*)"', rest)
            if quoted:
                out.append(quoted.group(1).replace("%", "%%"))
                rest = rest[quoted.end() :]
            elif rest[0].isalnum():
                raise NotServed(f"the format {model!r} of {where} (at {rest!r})", f"known: {', '.join(_TOKENS)}")
            else:
                out.append(rest[0].replace("%", "%%"))
                rest = rest[1:]
    return "".join(out)


def strftime_format(node: exp.Expr, where: str) -> str:
    """The strftime format of a format argument, which must be a string.

    :raises NotServed: it is computed, or has a part that is not served.
    """
    if not (isinstance(node, exp.Literal) and node.is_string):
        raise NotServed(f"a computed format in {where}", "give the format as a string")
    return strftime_text(node.name, where)

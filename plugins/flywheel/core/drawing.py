"""A drift alarm as one page: what has moved, since when, and both distributions, for whoever is woken by it.

The page is one file of HTML with inline SVG, without scripts and without anything to load, so that it can lie on S3, be attached
to a message and be read on a phone. For each finding it draws the shares of the profile's bins in the training data and in the
period that was judged (and those of the same weeks of last year, and of the days since the change, where they say more), and
the PSI by day or week with the day of the change. The features in which nothing was found are rows of a table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from html import escape
from typing import Any

from flywheel.core.causes import BROKEN
from flywheel.core.counting import add_counts
from flywheel.core.drift import FeatureDrift, psi, psi_terms
from flywheel.core.profiles import SCORE, profile_of, read_profile
from flywheel.core.watch import ALERT, NONE, NOTE, RETRAIN, UNKNOWN, Decision, Finding

HEADLINES = {
    RETRAIN: "drift that wants a retraining",
    ALERT: "drift that wants a person",
    NOTE: "changes, none of which wants anybody",
    NONE: "nothing has moved",
    UNKNOWN: "nobody can tell whether anything has moved",
}
MOST_LEVELS = 12
"""Levels of a category that get a line of their own in its picture: those that add most to the PSI."""
LEAST_ROWS_A_DAY = 200
"""With fewer rows a day the PSI of a day is mostly chance, and weeks are drawn."""
MOST_POINTS = 92
"""Days that a strip has room for; more are drawn as weeks."""
WEEK = 7

# Pictures are as wide as a phone, in pixels, so that their text is never scaled down to nothing.
_WIDTH, _LABELS, _VALUES, _LINE = 360, 116, 84, 20
_STRIP_HEIGHT, _STRIP_TOP = 84, 14

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--dim:#667085;--line:#e4e7ec;--card:#fff;--page:#f5f6f8;--then:#a9b4c2;--now:#2f6fde;
--season:#0e9384;--band:#f6efe0;--retrain:#b42318;--alert:#b54708;--note:#667085}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ee;--dim:#98a2b3;--line:#333b47;--card:#1b212b;--page:#12161c;--then:#667085;
--now:#6ea3ff;--season:#4fd1c0;--band:#2c2a22;--retrain:#f97066;--alert:#fdb022;--note:#98a2b3}}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:900px;margin:0 auto;padding:1rem}
h1{font-size:1.35rem;line-height:1.25;margin:.4rem 0}h2,summary b{font-size:1.05rem;margin:0;overflow-wrap:anywhere}
h3{font-size:1rem;margin:1.6rem 0 .4rem}p{margin:.35rem 0;overflow-wrap:anywhere}.dim{color:var(--dim);font-size:.87rem}
.card{background:var(--card);border:1px solid var(--line);border-left:4px solid var(--note);border-radius:6px;padding:.7rem .9rem;
margin:.8rem 0}.card.retrain{border-left-color:var(--retrain)}.card.alert{border-left-color:var(--alert)}
.tag{font-size:.72rem;font-weight:600;letter-spacing:.03em;color:var(--note);white-space:nowrap}
.retrain .tag,.tag.retrain{color:var(--retrain)}.alert .tag,.tag.alert{color:var(--alert)}summary{cursor:pointer}
.two{display:flex;flex-wrap:wrap;gap:.4rem 2rem}figure{margin:.5rem 0 0;flex:1 1 300px;max-width:410px;min-width:0}
figcaption{font-size:.8rem;color:var(--dim);margin-bottom:.2rem}
figcaption i{font-style:normal;white-space:nowrap;margin-right:.5em}
svg{display:block;width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:var(--ink)}
.e{text-anchor:end}.o{font-style:italic}.b{font-weight:700}svg{stroke-width:7}
.then{stroke:var(--then);color:var(--then)}.now{stroke:var(--now);color:var(--now)}.season{fill:var(--season);color:var(--season)}
.since{stroke:var(--ink);stroke-width:2}.band{fill:var(--band)}.limit{stroke:var(--dim);stroke-width:1;stroke-dasharray:3 3}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;background:var(--card);font-size:.87rem}
th,td{padding:.28rem .6rem;border-bottom:1px solid var(--line);text-align:left}
th+th,td+td{text-align:right;font-variant-numeric:tabular-nums}td+td+td+td+td,th+th+th+th+th{text-align:left;white-space:nowrap}
@media(max-width:480px){th,td{padding:.28rem .3rem}table{font-size:.8rem}td+td+td+td+td{white-space:normal}}
"""


_KEY = (
    "Pictures: share of the rows in each bin. Bold bins make up most of the PSI. Shaded bins hold what the training data's bins "
    "do not: values below, above, never seen, or missing. Strips: the PSI of each day or week alone, in colour since the change."
)


@dataclass(frozen=True)
class _Line:
    """One line of a distribution: some bins under one label; ``odd`` ones (below, above, unseen, null) hold what bins do not."""

    label: str
    bins: tuple[int, ...]
    odd: bool


def draw_drift(
    model: str,
    version: str,
    start: date,
    end: date,
    profile: Mapping[str, Any],
    verdicts: Sequence[FeatureDrift],
    decision: Decision,
    daily: Mapping[date, Mapping[str, Sequence[int]]],
    seasonal: Mapping[str, Sequence[int]] | None = None,
) -> str:
    """The page of one judgement: a heading, a card for each finding, most urgent first, and a table of all other features.

    Notes are folded where something else wants a person. Names, levels and sentences are escaped.

    :param start: first day of the period that was judged, and ``end`` its last
    :param verdicts: of :func:`flywheel.core.drift.compare`, and ``decision`` what :func:`flywheel.core.watch.decide` made of them
    :param daily: bin counts by day; days before ``start`` are shown in the strips only
    :param seasonal: bin counts of the same weeks of last year, as ``compare`` had them
    :raises KeyError: a feature that the profile does not have
    """
    profile = read_profile(profile)
    by_feature = {verdict.feature: verdict for verdict in verdicts}
    cards = []
    for finding in decision.findings:
        counts = {day: of_day[finding.feature] for day, of_day in sorted(daily.items()) if finding.feature in of_day}
        feature, then = profile_of(profile, finding.feature), (seasonal or {}).get(finding.feature, ())
        folded = finding.level == NOTE and decision.findings[0].level != NOTE
        cards.append(_card(finding, by_feature[finding.feature], feature, counts, then, start, end, folded))
    found = {finding.feature for finding in decision.findings}
    rest = _table(profile, [verdict for verdict in verdicts if verdict.feature not in found])
    heading = f"{model}: {HEADLINES[decision.level]}"
    judged = f"Version {version}, {_period(start, end)} against its training data"
    return "".join(
        [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(heading)}</title><style>{_STYLE}</style></head><body>\n",
            f'<h1>{escape(heading)}</h1><p class="dim">{escape(judged)}</p><p>{escape(_upper(decision.reason))}.</p>\n',
            *cards,
            f'<p class="dim">{_KEY}</p>' if cards else "",
            rest,
            "</body></html>\n",
        ]
    )


def bin_labels(feature: Mapping[str, Any]) -> list[str]:
    """What each bin of a feature's profile holds, in the order of its ``counts``.

    Intervals are open at a round bracket; edges have as many digits as it takes to tell them apart.
    """
    if feature["kind"] == "category":
        others = len(feature["other"])
        return [*feature["levels"], f"{others} rare level{'s' * (others != 1)}", "unseen levels", "missing"]
    if feature["min"] is None:
        return ["below", "any number", "missing"]
    edges = sorted({feature["min"], *feature["edges"], feature["max"]})
    digits = next(n for n in range(3, 18) if n == 17 or len({_number(edge, n) for edge in edges}) == len(edges))
    low, *uppers = [_number(edge, digits) for edge in (feature["min"], *feature["edges"], feature["max"])]
    bins = [f"= {low}" if uppers[0] == low else f"[{low}, {uppers[0]}]"]
    bins += [f"({uppers[i]}, {uppers[i + 1]}]" for i in range(len(uppers) - 1)]
    return [f"< {low}", *bins, f"> {uppers[-1]}", "missing"]


def _card(
    finding: Finding,
    verdict: FeatureDrift,
    feature: Mapping[str, Any],
    counts: Mapping[date, Sequence[int]],
    then: Sequence[int],
    start: date,
    end: date,
    folded: bool,
) -> str:
    cause = f"broken column: {finding.cause}" if finding.cause in BROKEN else finding.cause
    tag = f'<span class="tag">{escape(finding.level.upper())} &middot; {escape(cause)}</span>'
    title, name = escape(_title(finding.feature)), escape(finding.level)
    fewer = f", which count as {verdict.independent:,.0f} independent ones" if verdict.independent < verdict.rows else ""
    facts = f"{verdict.rows:,} rows{fewer}."
    if verdict.season_psi is not None:
        facts += f" Against the same weeks of last year: PSI {verdict.season_psi:.2f}."
    inside = f'<p class="dim">{facts}</p>{_pictures(finding, feature, counts, then, start, end)}'
    sentence = f"<p>{escape(_upper(finding.sentence))}.</p>"
    if folded:
        return f'<details class="card {name}"><summary><b>{title}</b> {tag}</summary>{sentence}{inside}</details>\n'
    return f'<section class="card {name}"><h2>{title} {tag}</h2>{sentence}{inside}</section>\n'


def _pictures(
    finding: Finding,
    feature: Mapping[str, Any],
    counts: Mapping[date, Sequence[int]],
    then: Sequence[int],
    start: date,
    end: date,
) -> str:
    window = {day: bins for day, bins in counts.items() if start <= day <= end}
    now = _sum(window.values())
    if not sum(now):
        return '<p class="dim">There are no counts of the days of this period to draw.</p>'
    later = _sum(bins for day, bins in window.items() if finding.since and day >= finding.since > min(window))
    pictures = _distribution(finding.feature, feature, now, then, later, finding.since)
    return f'<div class="two">{pictures}{_strip(finding, feature, counts, start)}</div>'


def _distribution(
    name: str, feature: Mapping[str, Any], now: Sequence[int], then: Sequence[int], later: Sequence[int], since: date | None
) -> str:
    """Two bars for each line of the profile, training data above, and marks for last year and for the days since the change."""
    reference = feature["counts"]
    terms = psi_terms(reference, now)
    lines = _lines(feature, now, terms)
    series = [_shares(counts, lines) if sum(counts) else [] for counts in (reference, now, then, later)]
    most = max(share for shares in series for share in shares)
    room = _WIDTH - _LABELS - _VALUES
    bars: list[list[str]] = [[], [], [], []]
    texts, bands, heavy = [], [], _heaviest(terms)
    for row, line in enumerate(lines):
        top = row * _LINE
        if line.odd:
            bands.append(f"M0 {top}h{_WIDTH}v{_LINE}H0z")
        for kind, shares in enumerate(series):
            if not shares:
                continue
            x = _LABELS + shares[row] / most * room
            shape = (f"M{_LABELS} {top + 6}H{x:.1f}", f"M{_LABELS} {top + 13}H{x:.1f}", f"M{x - 4:.1f} {top + 10}l4-4 4 4-4 4z",
                     f"M{x:.1f} {top + 2}v16")[kind]  # fmt: skip
            bars[kind].append(shape if shares[row] else "")
        style = " ".join(["o"] * line.odd + ["b"] * any(i in heavy for i in line.bins))
        values = f"{_percent(series[0][row])} → {_percent(series[1][row])}"
        for x, text in ((_LABELS - 6, _cut(line.label)), (_WIDTH - 2, values)):
            texts.append(_text(x, top + 14, text, style))
    kinds = ("then", "now", "season", "since")
    paths = "".join(f'<path class="{kind}" d="{"".join(d)}"/>' for kind, d in zip(kinds, bars) if any(d))  # noqa: B905
    legend = '<i><b class="then">■</b> training data</i> <i><b class="now">■</b> this period</i>'
    legend += ' <i><b class="season">◆</b> same weeks of last year</i>' * bool(series[2])
    legend += f" <i><b>|</b> since {since}</i>" * bool(series[3])
    label = escape(f"Shares of the bins of {_title(name)}, training data and this period")
    return (
        f'<figure><figcaption>{legend}</figcaption><svg role="img" aria-label="{label}" '
        f'viewBox="0 0 {_WIDTH} {len(lines) * _LINE}"><path class="band" d="{"".join(bands)}"/>{paths}'
        f'<g class="e">{"".join(texts)}</g></svg></figure>'
    )


def _strip(finding: Finding, feature: Mapping[str, Any], counts: Mapping[date, Sequence[int]], start: date) -> str:
    """The PSI by day, or by the weeks that end with the last day, with the threshold and the day of the change."""
    by_day, first, last = dict(counts), min(counts), max(counts)
    length = (last - first).days + 1
    step = 1 if length <= MOST_POINTS and sum(map(sum, by_day.values())) >= LEAST_ROWS_A_DAY * len(by_day) else WEEK
    points = -(-length // step)
    values: list[float | None] = []
    for back in range(points - 1, -1, -1):
        ends = last - timedelta(days=back * step)
        rows = _sum(bins for day, bins in by_day.items() if 0 <= (ends - day).days < step)
        values.append(psi(feature["counts"], rows) if sum(rows) else None)
    begins = last - timedelta(days=points * step - 1)
    most = max([finding.threshold, *(value for value in values if value is not None)]) * 1.05
    floor, width = _STRIP_HEIGHT + _STRIP_TOP, _WIDTH / points
    gap = 1 if width > 3 else 0
    at_change = ((finding.since - begins).days // step if finding.since else 0) if points > 1 else 0
    bars: dict[str, list[str]] = {"then": [], "now": []}
    for i, value in enumerate(values):
        if value is not None:
            kind = "now" if i >= at_change else "then"
            bars[kind].append(f"M{(i + 0.5) * width:.1f} {floor}v-{value / most * _STRIP_HEIGHT:.1f}")
    limit = floor - finding.threshold / most * _STRIP_HEIGHT
    marks, texts = "", [(0, floor + 13, "", str(begins)), (_WIDTH, floor + 13, "e", str(last))]
    if finding.since and at_change:
        x = at_change * width
        marks = f'<path class="since" d="M{x:.1f} {_STRIP_TOP - 3}V{floor}"/>'
        right = x > _WIDTH / 2
        texts.append((int(x) + (-4 if right else 4), _STRIP_TOP, "b e" if right else "b", f"since {finding.since}"))
    band = ""
    if begins < start:
        x = (start - begins).days / step * width
        band = f'<path class="band" d="M{x:.1f} {_STRIP_TOP}H{_WIDTH}V{floor}H{x:.1f}z"/>'
    paths = "".join(f'<path class="{kind}" d="{"".join(d)}"/>' for kind, d in bars.items() if d)
    paths = f'<g style="stroke-width:{width - gap:.1f}">{paths}</g>'
    words = "".join(_text(x, y, text, style) for x, y, style, text in texts)
    unit = "day" if step == 1 else "week"
    caption = f"PSI by {unit}, {max(v for v in values if v is not None):.2f} at most; dashed: {finding.threshold:.2f}"
    caption += "; shaded: this period" * bool(band)
    label = escape(f"PSI of {_title(finding.feature)} by {unit}")
    return (
        f'<figure><figcaption>{caption}</figcaption><svg role="img" aria-label="{label}" '
        f'viewBox="0 0 {_WIDTH} {floor + 17}">'
        f'{band}{paths}<path class="limit" d="M0 {limit:.1f}H{_WIDTH}"/>{marks}{words}</svg></figure>'
    )


def _table(profile: Mapping[str, Any], verdicts: Sequence[FeatureDrift]) -> str:
    if not verdicts:
        return ""
    rows = []
    for verdict in verdicts:
        share = profile["features"].get(verdict.feature, {}).get("importance")
        state = "cannot be told" if verdict.state == "insufficient" else verdict.state
        rows.append(
            f"<tr><td>{escape(_title(verdict.feature)).replace('_', '_<wbr>')}<td>{verdict.psi:.3f}<td>{verdict.threshold:.2f}"
            f"<td>{'' if share is None else f'{share:.1%}'}<td>{escape(state)}\n"
        )
    return (
        f'<h3>The other {len(verdicts)} that were judged</h3><div class="scroll"><table><thead><tr><th>Feature<th>PSI'
        f"<th>Threshold<th>Gain<th>State</thead><tbody>\n{''.join(rows)}</tbody></table></div>\n"
    )


def _text(x: int, y: int, text: str, style: str = "") -> str:
    kind = f' class="{style}"' if style else ""
    return f'<text{kind} x="{x}" y="{y}">{escape(text)}</text>'


def _lines(feature: Mapping[str, Any], now: Sequence[int], terms: Sequence[float]) -> list[_Line]:
    """The bins that hold rows on either side, the many levels of a category reduced to those that moved most."""
    labels, reference = bin_labels(feature), feature["counts"]
    held = [i for i in range(len(labels)) if reference[i] or now[i]]
    odd = {0, len(labels) - 2, len(labels) - 1} if feature["kind"] == "numeric" else {len(labels) - 2, len(labels) - 1}
    if feature["kind"] == "numeric":
        return [_Line(labels[i], (i,), i in odd) for i in held]
    levels = [i for i in held if i < len(feature["levels"])]
    # One line more is no longer than a line for the rest.
    shown = set(levels if len(levels) <= MOST_LEVELS + 1 else sorted(levels, key=lambda i: -terms[i])[:MOST_LEVELS])
    lines = [_Line(labels[i], (i,), False) for i in sorted(shown, key=lambda i: (-reference[i], i))]
    hidden = tuple(i for i in levels if i not in shown)
    if hidden:
        lines.append(_Line(f"{len(hidden)} more levels", hidden, False))
    return lines + [_Line(labels[i], (i,), i in odd) for i in held if i >= len(feature["levels"])]


def _heaviest(terms: Sequence[float]) -> set[int]:
    """The fewest bins that make up more than half of the PSI."""
    heavy: set[int] = set()
    for i in sorted(range(len(terms)), key=lambda i: -terms[i]):
        if sum(terms[j] for j in heavy) > sum(terms) / 2:
            break
        heavy.add(i)
    return heavy if sum(terms) else set()


def _shares(counts: Sequence[int], lines: Sequence[_Line]) -> list[float]:
    total = sum(counts)
    return [sum(counts[i] for i in line.bins) / total for line in lines]


def _sum(days: Iterable[Sequence[int]]) -> list[int]:
    return add_counts({"": counts} for counts in days).get("", [])


def _title(feature: str) -> str:
    return "the model's scores" if feature == SCORE else feature


def _period(start: date, end: date) -> str:
    days = (end - start).days + 1
    return str(start) if days == 1 else f"{start} to {end} ({days} days)"


def _upper(sentence: str) -> str:
    """A sentence's first letter as a capital, unless it is that of a feature's name."""
    return sentence[:1].upper() + sentence[1:] if sentence.split(" ")[0] in ("cannot", "none", "the") else sentence


def _cut(label: str) -> str:
    return label if len(label) <= 19 else label[:18] + "…"


def _percent(share: float) -> str:
    if 0 < share < 0.001:
        return "<0.1%"
    return f"{share:.1%}" if 0 < share < 0.0995 else f"{share:.0%}"


def _number(value: float, digits: int) -> str:
    """A number with so many digits that count, without an exponent where that is readable."""
    if value == 0 or not 1e-4 <= abs(value) < 1e7:
        return f"{value:.{digits}g}"
    text = f"{value:.{max(digits - 1 - math.floor(math.log10(abs(value))), 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text

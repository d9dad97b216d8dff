"""Has the world changed since the model was trained? The population stability index (PSI), feature by feature.

PSI is the sum of (q - p) ln(q / p) over the bins of a reference profile (flywheel.core.profiles), p the reference's share and q
the current one. Bins that are empty on both sides are left out. Shares are smoothed by half a row per bin (Jeffreys), which
keeps small samples honest, and floored at 1e-4, which makes the value independent of the sample's size where a bin is empty.

Without any drift PSI follows (1/N + 1/M) chi2 with B - 1 degrees of freedom (N, M independent rows, B bins; Yurdakul and Naranjo,
2020, Journal of Risk Model Validation 14), hence :func:`critical_value`: what a small sample's noise alone may pass. Rows are
rarely independent; those of one week share their weather and their timetable. The profile's design effect says how many rows
count as one, and the law becomes that of Rao and Scott (1984), in the F form of Thomas and Rao (1987, Journal of the American
Statistical Association 82), which allows for the design effect being an estimate from few blocks.

How often any of 60 features was called drifted at 1 per cent when none had (reference of 13 weeks, 120 runs): 0% for independent
rows (50 to 20,000 of them); 2.5% for autocorrelated rows (.9, .97); 1% where 30 per cent of the variance is the week's; 6% where
it is the day's and the window one week; 12% at worst, where days are autocorrelated (.7), so that weeks are not independent
either. With the law of independent rows it is 100% in each of these but the first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from flywheel.core.profiles import profile_of, read_profile, with_defaults

PRIOR = 0.5
FLOOR = 1e-4


def psi(reference: Sequence[float], current: Sequence[float], *, prior: float = PRIOR, floor: float = FLOOR) -> float:
    """Population stability index of two lists of bin counts.

    :param prior: rows added to each bin before shares are taken
    :param floor: least share
    :raises ValueError: lists of different lengths, or one without any rows
    """
    return math.fsum(psi_terms(reference, current, prior=prior, floor=floor))


def psi_terms(reference: Sequence[float], current: Sequence[float], *, prior: float = PRIOR, floor: float = FLOOR) -> list[float]:
    """What each bin adds to the :func:`psi`, none of it negative; 0 for a bin that is empty on both sides.

    :raises ValueError: lists of different lengths, or one without any rows
    """
    if len(reference) != len(current):
        raise ValueError(f"psi: expected two lists of one length, found {len(reference)} and {len(current)} bins")
    n, m, bins = sum(reference), sum(current), occupied_bins(reference, current)
    if n <= 0 or m <= 0:
        raise ValueError(f"psi: expected rows on both sides, found {n} and {m}")
    terms = []
    # Lengths are checked above; job containers' Python may be too old for zip's own check.
    for r, c in zip(reference, current):  # noqa: B905
        p, q = (max((x + prior) / (rows + prior * bins), floor) for x, rows in ((r, n), (c, m)))
        terms.append((q - p) * math.log(q / p) if r or c else 0.0)
    return terms


def occupied_bins(reference: Sequence[float], current: Sequence[float]) -> int:
    """Bins that hold a row on either side: those that :func:`psi` sums over."""
    return sum(1 for r, c in zip(reference, current) if r or c)  # noqa: B905


def critical_value(
    n_reference: float,
    n_current: float,
    bins: int,
    features: int = 1,
    alpha: float = 0.01,
    *,
    df: float | None = None,
    blocks: int = 0,
) -> float:
    """The PSI that samples of these sizes pass by chance, without any drift, with probability ``alpha`` over all features.

    :param n_reference: independent rows of the reference
    :param n_current: independent rows of the current data
    :param bins: bins that the PSI is summed over
    :param features: features looked at together (Bonferroni)
    :param df: degrees of freedom of dependent rows (``design_df`` of a profile); default: bins - 1
    :param blocks: blocks that the numbers of independent rows were estimated from; 0 when they are known
    """
    if bins < 2:
        return 0.0
    from scipy.special import fdtri, gammaincinv  # scipy.stats would take most of a second to import

    level, free = 1 - alpha / features, min(df or math.inf, bins - 1)
    quantile = fdtri(free, free * (blocks - 1), level) if blocks > 1 else 2 * gammaincinv(free / 2, level) / free
    return float((1 / n_reference + 1 / n_current) * (bins - 1) * quantile)


#: Days below which their shares do not tell how much they vary.
LEAST_DAYS = 4


def independent_rows(feature: Mapping[str, Any], rows: float, days: int | None = None) -> float:
    """As how many independent rows the rows of a window count.

    The design effect of a profile holds for blocks with as many rows as the reference's had. Rows that are further apart in time
    have less in common: with intra-block correlation rho, blocks of m rows have a design effect of 1 + (m - 1) rho (Kish, 1965,
    Survey Sampling, 5.4). A window of less than a block is taken for a part of a block that is as dense.

    :param feature: the feature's profile
    :param days: days that the rows come from; without it they are as dense in time as the reference
    """
    effect, block_rows = feature["design_effect"], feature["block_rows"]
    if effect > 1 and days and block_rows > 1:
        correlation = (effect - 1) / (block_rows - 1)
        effect = 1 + max(rows * feature["block_days"] / days - 1, 0.0) * correlation
    return rows / effect


@dataclass(frozen=True)
class FeatureDrift:
    """How far one feature has moved.

    :param psi: the index of all rows, as everybody computes it
    :param corrected: the index less what chance alone gives on average; about zero without drift
    :param threshold: what the index has to pass to count as drift: the effect asked for, or what chance alone may give
    :param state: ``drift``, ``ok``, or ``insufficient`` (too few independent rows to tell the effect asked for from chance)
    :param rows: current rows
    :param independent: as how many independent rows they count
    :param season_psi: the index of the current data against the same weeks a year before, where their counts were given
    :param in_season: the current data fit those weeks: what was found is a season
    """

    feature: str
    psi: float
    corrected: float
    threshold: float
    state: str
    rows: int = 0
    independent: float = 0.0
    season_psi: float | None = None
    in_season: bool = False


def compare(
    profile: Mapping[str, Any],
    counts: Mapping[str, Sequence[int]],
    *,
    threshold: float = 0.2,
    alpha: float = 0.01,
    days: int | None = None,
    seasonal: Mapping[str, Sequence[int]] | None = None,
    seasonal_days: int | None = None,
    features: int | None = None,
) -> list[FeatureDrift]:
    """Judge current bin counts against a profile, most moved first.

    A window should be whole weeks where features follow the days of the week.

    :param counts: bin counts of the features to judge, as flywheel.core.counting gives them; ``score`` is the model's scores
    :param threshold: the least index that matters
    :param alpha: probability that any of the features is called drifted when none has
    :param days: days that the counts come from, and ``seasonal_days`` the same of ``seasonal``; see :func:`independent_rows`
    :param seasonal: counts of the same weeks a year before, in the same bins
    :param features: how many features ``alpha`` is shared by; default: those given
    :raises KeyError: a feature that the profile does not have
    """
    profile, family, judged = read_profile(profile), features or len(counts), []
    for name, current in counts.items():
        feature, rows = profile_of(profile, name), sum(current)
        reference, independent = feature["counts"], independent_rows(feature, rows, days)
        if rows == 0:
            judged.append(FeatureDrift(name, 0.0, 0.0, threshold, "insufficient"))
            continue
        n = sum(reference) / feature["design_effect"]
        value, chance, average = _with_chance(feature, reference, n, current, independent, family, alpha)
        state = "drift" if value > max(threshold, chance) else "insufficient" if chance > threshold else "ok"
        season, fits = None, False
        if seasonal and sum(seasonal.get(name, ())):
            then = seasonal[name]
            n_then = independent_rows(feature, sum(then), seasonal_days or days)
            season, season_chance, _ = _with_chance(feature, then, n_then, current, independent, family, alpha)
            # Few independent rows would fit any season; those of last year must at least be much the nearer.
            fits = state == "drift" and season <= max(threshold, min(season_chance, value / 2))
        judged.append(FeatureDrift(name, value, value - average, max(threshold, chance), state, rows, independent, season, fits))
    return sorted(judged, key=lambda drift: -drift.psi)


def since(
    feature: Mapping[str, Any], daily: Mapping[date, Sequence[int]], *, alpha: float = 0.01, days_apart: int = 1
) -> date | None:
    """The first day since which a feature has been away from its reference, told from the bin counts of each day.

    The day t that maximises the likelihood ratio of "as the reference until t, then a distribution of its own" to "as the
    reference all the time": the generalised likelihood ratio form of Page's CUSUM (Page, 1954, Biometrika 41; Lorden, 1971,
    Annals of Mathematical Statistics 42), for counts. The first day given is an answer, too: since then, or longer.

    :param feature: the feature's profile
    :param daily: bin counts by day; a day without rows says nothing
    :param alpha: chance of naming a day when nothing has changed
    :param days_apart: days that an entry of ``daily`` stands for (7 when weeks are given)
    :return: None when it cannot be told: no rows, or a ratio that chance may give
    """
    from scipy.special import gammaincinv

    feature = with_defaults(feature)
    reference, days = feature["counts"], sorted(day for day in daily if sum(daily[day]))
    if not days or sum(reference) == 0:
        return None
    total = [sum(counts) for counts in zip(*(daily[day] for day in days))]  # noqa: B905
    bins = occupied_bins(reference, total)
    expected = [(r + PRIOR) / (sum(reference) + PRIOR * bins) for r in reference]
    after, best, first = [0] * len(reference), 0.0, None
    for day in reversed(days):
        after = [a + c for a, c in zip(after, daily[day])]  # noqa: B905
        ratio = sum(a * math.log(a / sum(after) / p) for a, p in zip(after, expected) if a)  # noqa: B905
        if ratio > best:
            best, first = ratio, day
    rows = sum(total)
    effect = rows / independent_rows(feature, rows, len(days) * days_apart)
    free = min(feature["design_df"] or math.inf, bins - 1)
    chance = 2 * gammaincinv(free / 2, 1 - alpha / len(days)) / free * (bins - 1) if bins > 1 else math.inf
    return first if 2 * best / effect > chance else None


def nulls_risen(
    feature: Mapping[str, Any], daily: Mapping[date, Sequence[int]], *, threshold: float = 0.2, alpha: float = 0.01
) -> bool:
    """Whether values are missing more often than in the reference, whatever the others do.

    The design effect of a feature whose values follow the weeks says nothing of its nulls: they are judged by themselves. The
    index of null against not null has to pass the threshold, and the rise has to be beyond what the days' own shares make
    likely, each day being one draw (ratio estimator: Cochran, 1977, Sampling Techniques, 6.4).

    :param daily: bin counts by day
    :param alpha: chance of a rise when there is none
    """
    from scipy.special import stdtrit

    days = [counts for counts in daily.values() if sum(counts)]
    if len(days) < LEAST_DAYS:
        return False
    reference, rows, nulls = feature["counts"], sum(map(sum, days)), sum(counts[-1] for counts in days)
    share, before = nulls / rows, reference[-1] / max(sum(reference), 1)
    if share <= before or psi([sum(reference) - reference[-1], reference[-1]], [rows - nulls, nulls]) <= threshold:
        return False
    squares = math.fsum((counts[-1] - share * sum(counts)) ** 2 for counts in days)
    error = math.sqrt(len(days) / (len(days) - 1) * squares) / rows
    return bool(share - before > stdtrit(len(days) - 1, 1 - alpha) * error)


def _with_chance(
    feature: Mapping[str, Any],
    before: Sequence[int],
    n_before: float,
    now: Sequence[int],
    n_now: float,
    family: int,
    alpha: float,
) -> tuple[float, float, float]:
    """The index, what chance alone may give, and what it gives on average."""
    value, bins = psi(before, now), occupied_bins(before, now)
    chance = critical_value(n_before, n_now, bins, family, alpha, df=feature["design_df"], blocks=feature["blocks"])
    # The law speaks of an index whose shares are smoothed by half an independent row. In a window of few independent rows bins
    # are empty by chance, and smoothed by half of one row of many they would count as a great change.
    scale_before, scale_now = n_before / sum(before), n_now / sum(now)
    if scale_before < 1 or scale_now < 1:
        smooth = psi([count * scale_before for count in before], [count * scale_now for count in now])
        chance *= value / smooth if smooth > 0 else 1.0
    return value, chance, (bins - 1) * (1 / n_before + 1 / n_now)

"""The population stability index against published and exact values; verdicts on data with and without drift."""

import math
from datetime import date, timedelta
from decimal import Decimal, getcontext

import numpy as np
import pytest

from flywheel.core.drift import compare, critical_value, independent_rows, nulls_risen, psi, psi_terms, since
from flywheel.core.profiles import bin_counts, numeric_profile, reference_profile

DAYS = [date(2013, 1, 1) + timedelta(days=i) for i in range(91)]


# Exact to 40 digits; the libraries that compute this index agree with them. Shares times 1000, so that they are counts.
@pytest.mark.parametrize(
    ("reference", "current", "expected"),
    [
        ([400, 300, 300], [350, 250, 400], 0.04456085471610195521),
        ([100] * 10, [1000] + [0] * 9, 9 * 0.0999 * math.log(1000) + 0.9 * math.log(10)),
        ([500, 500], [600, 400], 0.1 * math.log(1.5)),
        ([100] * 10, [80, 80, 90, 90, 100, 100, 110, 110, 120, 120], 0.02023201823356959850),
        ([250] * 4, [400, 250, 200, 150], 0.13274028432916988915),
        ([900, 100], [100, 900], 1.6 * math.log(9)),
    ],
)
def test_psi_of_plain_shares(reference, current, expected):
    assert psi(reference, current, prior=0) == pytest.approx(expected, rel=1e-14)


# 500 and 500 rows of sklearn's make_classification(1000, 6, n_redundant=2, n_clusters_per_class=1, weights=[.5], class_sep=2,
# random_state=1), binned at the deciles of the first half.
@pytest.mark.parametrize(
    ("current", "expected"),
    [
        ([34, 69, 47, 62, 46, 54, 56, 35, 50, 47], 0.043828484052281),
        ([50, 56, 43, 42, 64, 48, 62, 48, 57, 30], 0.0409298707476654),
        ([32, 58, 52, 61, 46, 35, 51, 50, 49, 66], 0.0433041849515690),
        ([49, 48, 45, 54, 46, 57, 42, 77, 42, 40], 0.0377328653254815),
        ([45, 60, 58, 32, 54, 37, 48, 39, 66, 61], 0.0504738851566304),
        ([44, 55, 45, 57, 47, 45, 53, 60, 53, 41], 0.0147177355957125),
    ],
)
def test_psi_of_deciles_as_other_libraries_have_it(current, expected):
    assert psi([50] * 10, current, prior=0) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(
    ("values", "expected"), [(list(range(30)), 7.745116608833365), ([1, 2, 3, 4, 5, 6] * 5, 0.1621860432432658)]
)
def test_psi_with_an_empty_bin_is_floored(values, expected):
    reference, current = np.array(values[:15]), np.array(values[15:])
    edges = np.unique(np.quantile(reference, np.arange(0.1, 1, 0.1)))
    counts = [np.bincount(np.searchsorted(edges, side), minlength=len(edges) + 1) for side in (reference, current)]
    assert psi(*counts, prior=0) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(
    ("reference", "current", "expected"),
    [
        ([100] * 10, [0] + [50] * 8 + [100], 0.5250796938672353),
        ([1000, 0, 0], [900, 100, 0], 0.5403206690776077),
        ([500, 300, 200, 0], [200, 300, 400, 100], 0.9412658686236137),
        ([5000, 5000], [6000, 4000], 0.04053829074905682),
        ([10**6, 0], [966_000, 34_000], 0.1987805447027938),
    ],
)
def test_psi_of_counts_smoothed_and_floored(reference, current, expected):
    assert psi(reference, current) == pytest.approx(expected, rel=1e-14)


def test_psi_refuses_what_it_cannot_compare():
    with pytest.raises(ValueError, match="found 2 and 3 bins"):
        psi([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="found 3 and 0"):
        psi([1, 2], [0, 0])


# The law of the index without drift: (1/N + 1/M) chi-square, 60 features at 1 per cent.
@pytest.mark.parametrize(
    ("rows", "bins", "expected"), [(50, 10, 0.649), (100, 10, 0.324), (150, 10, 0.216), (200, 20, 0.246), (300, 50, 0.309)]
)
def test_critical_value(rows, bins, expected):
    assert critical_value(1e6, rows, bins, features=60) == pytest.approx(expected, abs=6e-4)


def test_small_samples_neither_alarm_nor_acquit():
    rng = np.random.default_rng(1)
    profile = reference_profile({"x": rng.normal(size=100_000)})
    feature = profile["features"]["x"]
    states = {
        (rows, shift): compare(profile, {"x": bin_counts(feature, rng.normal(shift, 1, rows))})[0].state
        for rows in (40, 2000)
        for shift in (0.0, 3.0)
    }
    assert states == {(40, 0.0): "insufficient", (40, 3.0): "drift", (2000, 0.0): "ok", (2000, 3.0): "drift"}
    assert compare(profile, {"x": [0] * 13})[0].state == "insufficient"


def test_the_corrected_index_is_about_zero_without_drift():
    rng = np.random.default_rng(2)
    profile = reference_profile({"x": rng.normal(size=5000)})
    corrected = [
        compare(profile, {"x": bin_counts(profile["features"]["x"], rng.normal(size=500))})[0].corrected for _ in range(200)
    ]
    assert abs(float(np.mean(corrected))) < 0.01


def exact_psi(reference, current):
    """The definition in 40 digits, with natural logarithms of Decimal: nothing in common with the code under test."""
    getcontext().prec = 40
    bins = [(Decimal(r), Decimal(c)) for r, c in zip(reference, current, strict=True) if r + c]
    n, m = (sum(pair[side] for pair in bins) + Decimal(len(bins)) / 2 for side in (0, 1))
    shares = [(max((r + Decimal("0.5")) / n, Decimal("1e-4")), max((c + Decimal("0.5")) / m, Decimal("1e-4"))) for r, c in bins]
    return float(sum((q - p) * (q / p).ln() for p, q in shares))


def test_psi_is_the_definition_computed_with_40_digits():
    rng = np.random.default_rng(8)
    for _ in range(200):
        bins = int(rng.integers(2, 60))
        rows = 10.0 ** rng.uniform(1, 7, 2)
        reference, current = (rng.multinomial(int(n), rng.dirichlet(np.full(bins, 0.3))).tolist() for n in rows)
        assert psi(reference, current) == pytest.approx(exact_psi(reference, current), rel=1e-12)


def test_the_terms_of_the_bins_sum_to_psi_and_none_is_negative():
    terms = psi_terms([500, 300, 200, 0, 0], [200, 300, 400, 100, 0])
    assert math.fsum(terms) == psi([500, 300, 200, 0, 0], [200, 300, 400, 100, 0])
    assert min(terms) >= 0 and terms[-1] == 0.0 and terms[3] > 0.3


def dependent(rng, days, per_day, share):
    """Normal rows, ``share`` of whose variance is the week's."""
    week = np.arange(days * per_day) // (7 * per_day)
    return math.sqrt(share) * rng.normal(size=week[-1] + 1)[week] + math.sqrt(1 - share) * rng.normal(size=len(week))


def family(rng, share, weeks, per_day, *, with_days=True, shift=0.0):
    """Verdicts on 30 features whose rows of a week hang together."""
    days = np.repeat(DAYS, per_day) if with_days else None
    reference = {f"x{i}": dependent(rng, 91, per_day, share) for i in range(30)}
    profile = reference_profile(reference, days=days)
    now = {name: bin_counts(profile["features"][name], dependent(rng, weeks * 7, per_day, share) + shift) for name in reference}
    return compare(profile, now, days=weeks * 7)


def test_dependent_rows_raise_no_false_alarms_and_are_not_acquitted():
    """As independent rows they would: that is the same data without days."""
    rng = np.random.default_rng(9)
    honest = [verdict for _ in range(8) for verdict in family(rng, 0.3, weeks=4, per_day=30)]
    naive = [verdict for _ in range(4) for verdict in family(rng, 0.3, weeks=4, per_day=30, with_days=False)]
    assert [verdict for verdict in honest if verdict.state == "drift"] == []
    assert {verdict.state for verdict in honest} == {"insufficient"}
    assert sum(verdict.state == "drift" for verdict in naive) > 0.15 * len(naive)


def test_a_great_drift_is_seen_in_dependent_rows_and_a_small_one_in_many_independent_rows():
    rng = np.random.default_rng(10)
    assert {verdict.state for verdict in family(rng, 0.05, weeks=4, per_day=30, shift=2.5)} == {"drift"}
    assert {verdict.state for verdict in family(rng, 0.0, weeks=4, per_day=60, shift=0.6)} == {"drift"}
    assert {verdict.state for verdict in family(rng, 0.0, weeks=4, per_day=60, shift=0.1)} == {"ok"}


def test_drift_is_exactly_an_index_over_the_threshold_that_is_shown():
    rng = np.random.default_rng(11)
    verdicts = [verdict for shift in (0.0, 0.8, 1.6) for verdict in family(rng, 0.2, weeks=2, per_day=20, shift=shift)]
    assert all((verdict.state == "drift") == (verdict.psi > verdict.threshold) for verdict in verdicts)
    assert {verdict.state for verdict in verdicts} == {"drift", "insufficient"}


def test_bins_that_few_independent_rows_leave_empty_are_no_drift():
    """28 days with one value each, 100 rows a day: two of ten bins without a day are chance, however many rows there are."""
    feature = {"kind": "numeric", "min": 0.0, "max": 1.0, "edges": [], "counts": [910] * 10}
    days = {"design_effect": 100.0, "design_df": 9.0, "blocks": 91, "block_days": 1, "block_rows": 100.0}
    current = {"x": [350] * 8 + [0, 0]}
    verdict = compare({"version": 2, "features": {"x": {**feature, **days}}}, current, days=28)[0]
    assert (verdict.state, verdict.rows, verdict.independent) == ("insufficient", 2800, 28.0)
    assert verdict.psi > critical_value(91, 28, 10, df=9.0, blocks=91)
    assert compare({"version": 2, "features": {"x": feature}}, current, days=28)[0].state == "drift"


def test_few_blocks_and_few_directions_make_the_critical_value_greater():
    plain = critical_value(1000, 300, 12, 60)
    assert critical_value(1000, 300, 12, 60, df=11.0) == pytest.approx(plain)
    assert critical_value(1000, 300, 12, 60, df=3.0) > 1.3 * plain
    assert critical_value(1000, 300, 12, 60, df=3.0, blocks=12) > 1.3 * critical_value(1000, 300, 12, 60, df=3.0)
    assert critical_value(1000, 300, 1) == 0.0


def test_rows_spread_over_more_days_count_for_more():
    feature = {"design_effect": 200.0, "block_rows": 2000.0, "block_days": 7}
    assert independent_rows(feature, 8000) == independent_rows(feature, 8000, 28) == 40.0
    assert independent_rows(feature, 8000, 280) == pytest.approx(400, rel=0.1)
    assert independent_rows(feature, 50, 28) == pytest.approx(50 / (1 + 11.5 * 199 / 1999))
    assert independent_rows(feature, 4, 28) == 4.0
    assert independent_rows({**feature, "design_effect": 1.0}, 50, 28) == 50.0


def test_a_season_is_what_fits_the_same_weeks_of_last_year():
    rng = np.random.default_rng(12)
    profile = reference_profile({name: rng.normal(size=9000) for name in ("season", "both", "steady")})
    features = profile["features"]

    def counts(**shifts):
        return {name: bin_counts(features[name], rng.normal(shift, 1, 3000)) for name, shift in shifts.items()}

    now, then = counts(season=2, both=3.5, steady=0), counts(season=2.1, both=2, steady=0)
    verdicts = {v.feature: v for v in compare(profile, now, seasonal=then)}
    assert {name: (v.state, v.in_season) for name, v in verdicts.items()} == {
        "season": ("drift", True), "both": ("drift", False), "steady": ("ok", False)
    }  # fmt: skip
    assert verdicts["season"].season_psi < 0.1 < verdicts["both"].season_psi
    assert not compare(profile, now, seasonal={"season": [0] * 13})[0].in_season
    assert compare(profile, now)[0].season_psi is None


def test_the_scores_are_judged_like_a_feature():
    rng = np.random.default_rng(13)
    profile = reference_profile({"x": rng.normal(size=500)}) | {"score": numeric_profile(rng.uniform(size=5000))}
    found = compare(profile, {"score": bin_counts(profile["score"], rng.uniform(0.5, 1, 2000))})
    assert [(v.feature, v.state) for v in found] == [("score", "drift")]


def test_since_when_a_feature_has_been_away():
    rng = np.random.default_rng(14)
    feature = numeric_profile(rng.normal(size=9100), days=np.repeat(DAYS, 100))

    def daily(*shifts):
        return {DAYS[i]: bin_counts(feature, rng.normal(shift, 1, 100)) for i, shift in enumerate(shifts)}

    found = [since(feature, daily(*[0.0] * 18, *[0.7] * 10)) for _ in range(20)]
    assert all(day is not None and abs((day - DAYS[18]).days) <= 1 for day in found)
    assert since(feature, daily(*[0.7] * 10)) == DAYS[0]
    assert sum(since(feature, daily(*[0.0] * 28)) is not None for _ in range(50)) <= 2
    assert since(feature, {}) is None and since(feature, {DAYS[0]: [0] * 13}) is None


def test_nulls_rise_when_the_days_agree_and_not_when_one_day_was_without():
    feature = {"counts": [0, 5000, 5000, 0, 0]}
    start = date(2013, 4, 1)

    def days(*nulls):
        return {start + timedelta(days=i): [0, 450, 550 - lost, 0, lost] for i, lost in enumerate(nulls)}

    assert nulls_risen(feature, days(*[100] * 28), alpha=0.001)
    assert nulls_risen(feature, days(*[0] * 14, *[100] * 14), alpha=0.001)
    assert not nulls_risen(feature, days(*[0] * 27, 550), alpha=0.001), "one day may have many reasons"
    assert not nulls_risen(feature, days(*[20] * 28), alpha=0.001), "two per cent is less than matters"
    assert not nulls_risen(feature, days(100, 100, 100), alpha=0.001), "three days tell nothing of how days vary"
    often = {"counts": [0, 4500, 4500, 0, 1000]}
    assert not nulls_risen(often, days(*[100] * 28)) and not nulls_risen(often, days(*[0] * 28))

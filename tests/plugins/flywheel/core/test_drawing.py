"""The page of a drift alarm: that it says and draws what was found, whatever the names are."""

from datetime import date, timedelta
from html.parser import HTMLParser

import numpy as np
import pytest

from flywheel.core.counting import add_counts
from flywheel.core.drawing import bin_labels, draw_drift
from flywheel.core.drift import compare
from flywheel.core.profiles import bin_counts, categorical_profile, numeric_profile, profile_of, reference_profile
from flywheel.core.watch import Rules, decide

START = date(2013, 5, 1)
END = START + timedelta(days=27)
HOSTILE = '<script>alert("&")</script>'
VOID = ("meta", "path", "wbr")
IMPLIED = ("tr", "td", "th")  # HTML lets these be closed by what follows
COLUMNS = ("driver", "second", "weather", "carrier", "score")


def rows_of(rng, rows):
    normal = {name: rng.normal(50, 10, rows) for name in ("driver", "second", "weather")}
    return normal | {"carrier": rng.choice(["AA", HOSTILE, "DL"], rows), "score": rng.beta(2, 5, rows)}


def training():
    columns = rows_of(np.random.default_rng(40), 9000)
    score = columns.pop("score")
    shares = {"driver": 0.5, "second": 0.2, "weather": 0.2, "carrier": 0.1}
    return reference_profile(columns, ["carrier"], importance=shares) | {"score": numeric_profile(score)}


PROFILE = training()


class Page(HTMLParser):
    """What a browser would find: texts, elements with their attributes, and whether all that was opened was closed."""

    def __init__(self, text):
        super().__init__()
        self.size, self.texts, self.elements, self.open = len(text.encode()), [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in (*VOID, *IMPLIED):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in (*VOID, *IMPLIED):
            assert self.open.pop() == tag

    def handle_data(self, text):
        if text.strip() and "style" not in self.open:
            self.texts.append(text.strip())

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def paths(self, kind):
        return [path["d"] for path in self.of("path") if path.get("class") == kind]


def page(*, since=0, rules=None, profile=PROFILE, per_day=300, earlier=0, shown=True, seasonal=None, version="3", **damage):
    rng, daily = np.random.default_rng(41), {}
    for i in range(-earlier, 28):
        rows = rows_of(rng, per_day)
        rows |= {name: change(rows[name]) for name, change in damage.items() if i >= since}
        daily[START + timedelta(days=i)] = {name: bin_counts(profile_of(profile, name), values) for name, values in rows.items()}
    judged = {day: counts for day, counts in daily.items() if day >= START}
    verdicts = compare(profile, add_counts(judged.values()), days=28, seasonal=seasonal)
    decision = decide(profile, verdicts, judged, rules or Rules(context=frozenset({"weather"})))
    drawn = daily if shown else judged
    return Page(draw_drift("delay", version, START, END, profile, verdicts, decision, drawn, seasonal))


def shifted(values):
    return values + 15


def test_a_page_says_what_has_moved_since_when_and_draws_both_distributions():
    found = page(since=14, driver=shifted)
    assert found.texts[1] == "delay: drift that wants a retraining"
    assert "Version 3, 2013-05-01 to 2013-05-28 (28 days) against its training data" in found.texts
    sentence = next(text for text in found.texts if text.startswith("driver has shifted since 2013-05-15: PSI"))
    assert found.texts.count(sentence) == 2, "in the heading and with its pictures"
    assert {"RETRAIN · shift", "since 2013-05-15", "driver"} <= set(found.texts)
    edges = PROFILE["features"]["driver"]["edges"]
    then, now = found.paths("then"), found.paths("now")
    assert len(then) == len(now) == 2, "a distribution and a strip"
    assert then[0].count("M") == len(edges) + 1, "no training row is above the greatest: that bin has no bar"
    assert (then[1].count("M"), now[1].count("M")) == (14, 14), "days before and since the change"


def test_a_bar_is_as_long_as_its_share():
    found = page(since=0, carrier=lambda values: np.full(len(values), "AA"))
    length = [float(bar.split("H")[1]) - 116 for bar in found.paths("now")[0].split("M")[1:]]
    assert length == [160.0], "all rows of the period are in one level, which fills the room that there is"
    shares = [count / 9000 for count in PROFILE["features"]["carrier"]["counts"] if count]
    drawn = [float(bar.split("H")[1]) - 116 for bar in found.paths("then")[0].split("M")[1:]]
    assert sorted(drawn) == pytest.approx(sorted(160 * share for share in shares), abs=0.06)
    assert "ALERT · broken column: constant" in found.texts and any(text.endswith("→ 100%") for text in found.texts)


def test_the_days_since_the_change_are_marked_where_the_period_holds_others():
    found = page(since=14, carrier=lambda values: np.full(len(values), "AA"))
    assert found.paths("since")[0] == "M276.0 42v16", "all rows since then are in the third line, AA"
    assert found.texts.count("since 2013-05-15") == 2, "in the picture's legend and in the strip"
    assert len(page(since=0, carrier=lambda values: np.full(len(values), "AA")).paths("since")) == 0


def test_names_and_levels_cannot_write_markup():
    profile = PROFILE | {"features": {**PROFILE["features"]}}
    found = page(version=HOSTILE, profile=profile, carrier=lambda values: np.where(values == "AA", "DL", values))
    assert found.of("script") == [] and found.of("img") == []
    assert HOSTILE[:18] + "…" in found.texts and any(text.startswith(f"Version {HOSTILE}") for text in found.texts)


def test_a_page_loads_nothing():
    found = page(driver=shifted, weather=shifted)
    assert not {"script", "link", "img", "iframe", "use"} & {tag for tag, _ in found.elements}
    assert not any(name in attributes for _, attributes in found.elements for name in ("href", "src", "onclick"))


def test_what_is_missing_or_never_seen_is_marked():
    def damaged(values):
        return np.where(np.arange(len(values)) % 2, np.nan, values + 60)

    found = page(driver=damaged)
    odd = [(attributes["class"]) for attributes in found.of("text") if "o" in attributes.get("class", "").split()]
    assert len(odd) == 2 * 2, "labels and shares of two bins"
    assert found.paths("band")[0].count("M") == 2
    assert "missing" in found.texts and f"> {PROFILE['features']['driver']['max']:.1f}" in found.texts


def test_notes_are_folded_where_something_wants_a_person_and_open_where_nothing_does():
    both = page(driver=shifted, weather=shifted)
    assert [part["class"] for part in both.of("details")] == ["card note"]
    assert [part["class"] for part in both.of("section")] == ["card retrain"]
    alone = page(weather=shifted)
    assert alone.texts[1] == "delay: changes, none of which wants anybody"
    assert alone.of("details") == [] and len(alone.of("section")) == 1


def test_nothing_found_is_a_table_of_all_features():
    found = page()
    assert found.texts[1] == "delay: nothing has moved" and found.of("svg") == [] and found.of("section") == []
    assert "The other 5 that were judged" in found.texts and len(found.of("tr")) == 6
    assert "the model's scores" in found.texts and "50.0%" in found.texts


def test_last_years_weeks_are_drawn_beside_the_bars_where_they_are_known():
    rng = np.random.default_rng(42)
    then = {"weather": bin_counts(PROFILE["features"]["weather"], rng.normal(65, 10, 8000))}
    found = page(weather=shifted, seasonal=then)
    assert "NOTE · season" in found.texts and len(found.paths("season")) == 1
    assert any("Against the same weeks of last year: PSI 0.0" in text for text in found.texts)
    assert page(weather=shifted).paths("season") == []


def test_few_rows_a_day_and_long_histories_are_drawn_by_week():
    few = page(driver=shifted, per_day=100)
    assert few.paths("now")[1].count("M") == 4 and any(text.startswith("PSI by week") for text in few.texts)
    long = page(driver=shifted, earlier=70)
    assert long.paths("now")[1].count("M") + long.paths("then")[1].count("M") == 14
    assert any("shaded: this period" in text for text in long.texts)


def test_days_before_the_period_are_in_the_strip_only():
    found = page(driver=shifted, since=-10, earlier=10)
    assert sum(path[1].count("M") for path in (found.paths("now"), found.paths("then"))) == 38
    without = page(driver=shifted, since=-10, earlier=10, shown=False)
    assert found.paths("now")[0] == without.paths("now")[0] and without.paths("now")[1].count("M") == 28


def test_of_many_levels_those_that_moved_most_have_a_line():
    rng = np.random.default_rng(43)
    levels = np.array([f"level_{i:02}" for i in range(40)])
    profile = {"version": 2, "rows": 20000, "features": {"dest": categorical_profile(levels[rng.integers(0, 40, 20000)])}}
    now = levels[rng.integers(0, 40, 9000)]
    now[:3000] = "level_33"
    daily = {START: {"dest": bin_counts(profile["features"]["dest"], now)}}
    verdicts = compare(profile, daily[START])
    found = Page(draw_drift("m", "1", START, START, profile, verdicts, decide(profile, verdicts, daily), daily))
    assert "28 more levels" in found.texts and "level_33" in found.texts
    assert len(found.of("text")) == 2 * 13 + 2, "twelve levels, the rest, and the strip's two dates"


def test_labels_of_bins_say_what_is_in_them():
    feature = {"kind": "numeric", "min": 1.0, "edges": [1.0, 2.5], "max": 1013.25}
    assert bin_labels(feature) == ["< 1", "= 1", "(1, 2.5]", "(2.5, 1013]", "> 1013", "missing"]
    assert bin_labels({**feature, "edges": [1012.9, 1013.1]})[1:4] == ["[1, 1012.9]", "(1012.9, 1013.1]", "(1013.1, 1013.2]"]
    assert bin_labels({"kind": "numeric", "min": None, "edges": [], "max": None}) == ["below", "any number", "missing"]
    assert bin_labels({"kind": "numeric", "min": 0.0, "edges": [], "max": 3e9}) == ["< 0", "[0, 3e+09]", "> 3e+09", "missing"]
    category = {"kind": "category", "levels": ["AA"], "other": ["X"]}
    assert bin_labels(category) == ["AA", "1 rare level", "unseen levels", "missing"]


@pytest.mark.parametrize("values", [np.full(500, 3.0), np.array([np.nan] * 500), np.arange(4.0), np.round(np.arange(500) / 7, 1)])
def test_each_bin_of_any_profile_has_a_label(values):
    feature = numeric_profile(values)
    assert len(bin_labels(feature)) == len(feature["counts"])


def test_a_page_of_sixty_findings_is_small():
    rng = np.random.default_rng(44)
    columns = {f"feature_number_{i:02}": rng.lognormal(3, 1, 5000) for i in range(60)}
    profile = reference_profile(columns)
    daily = {
        START + timedelta(days=i): {name: bin_counts(profile["features"][name], rng.lognormal(4, 1, 300)) for name in columns}
        for i in range(28)
    }
    verdicts = compare(profile, add_counts(daily.values()))
    decision = decide(profile, verdicts, daily, Rules(context=frozenset(columns)))
    assert len(decision.findings) == 60
    assert Page(draw_drift("m", "1", START, END, profile, verdicts, decision, daily, add_counts(daily.values()))).size < 200_000

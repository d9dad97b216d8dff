"""The report's pictures: each a PNG in base64, from the facts alone."""

from __future__ import annotations

import base64
import io
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import yaml

from laptop.demo import DAGS, MODEL
from laptop.environment import PROJECT

if TYPE_CHECKING:
    from laptop.report import Facts


def days_of(row: dict[str, Any]) -> int:
    """How many days the period of a measurement has."""
    return (date.fromisoformat(row["period_end"]) - date.fromisoformat(row["period_start"])).days + 1


def _figure(width: float, height: float) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(width, height), layout="constrained")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: Any) -> str:
    from matplotlib import pyplot

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    pyplot.close(figure)
    return base64.b64encode(buffer.getvalue()).decode()


def auc_picture(facts: Facts) -> str:
    """AUC within days, by week, a line for each champion, with its holdout's as what it promised; grey lines: retrainings."""
    figure, axes = _figure(9.5, 4.0)
    for position, version in enumerate(facts.versions):
        weeks = [
            row for row in facts.accuracy
            if row["model_version"] == version["version"] and days_of(row) == 7 and row["auc"] is not None
        ]  # fmt: skip
        if not weeks:
            continue
        colour = f"C{position}"
        middle = [date.fromisoformat(row["period_start"]) + timedelta(days=3) for row in weeks]
        axes.plot(middle, [row["auc"] for row in weeks], "o-", color=colour, label=f"version {version['version']}, by week")
        low, high = ([row[bound] or row["auc"] for row in weeks] for bound in ("auc_low", "auc_high"))
        axes.fill_between(middle, low, high, color=colour, alpha=0.12, linewidth=0)
        axes.plot([middle[0], middle[-1]], [weeks[-1]["baseline_auc"]] * 2, "--", color=colour, linewidth=1)
    axes.plot([], [], "--", color="#888888", linewidth=1, label="on its holdout, before it served")
    for version in facts.versions[1:]:
        day, state = date.fromisoformat(version["trained_until"]), version["status"].lower()
        axes.axvline(day, color="#bbbbbb", linewidth=1, zorder=0)
        axes.annotate(f"v{version['version']} {state}", (day, 1.0), xycoords=("data", "axes fraction"), fontsize=8,
                      color="#444444", xytext=(3, -9), textcoords="offset points")  # fmt: skip
    axes.set_ylabel("AUC within days, with 95% intervals")
    axes.margins(y=0.12)
    figure.legend(fontsize=8, frameon=False, ncols=5, loc="outside lower center")
    return _png(figure)


def psi_picture(facts: Facts) -> str:
    """PSI by feature and week as a grid; the colour scale ends at 0.5, the numbers say the rest."""
    weekly = [row for row in facts.drift if days_of(row) == 7 and row["psi"] is not None]
    weeks = sorted({row["period_start"] for row in weekly})
    worst: dict[str, float] = {}
    for row in weekly:
        worst[row["feature"]] = max(worst.get(row["feature"], 0), row["psi"])
    features = sorted(worst, key=lambda name: -worst[name])
    value = {(row["feature"], row["period_start"]): row["psi"] for row in weekly}
    grid = [[value.get((feature, week), float("nan")) for week in weeks] for feature in features]
    figure, axes = _figure(9.5, 0.24 * max(len(features), 4) + 1.2)
    if grid and weeks:
        image = axes.imshow(grid, aspect="auto", cmap="YlOrRd", vmin=0, vmax=0.5)
        figure.colorbar(image, ax=axes, label="PSI", extend="max")
        if len(weeks) <= 26:
            for y, line in enumerate(grid):
                for x, psi in enumerate(line):
                    if psi == psi:
                        axes.text(x, y, f"{psi:.1f}" if psi >= 0.05 else "·", ha="center", va="center", fontsize=6.5,
                                  color="white" if psi > 0.35 else "#333333")  # fmt: skip
        axes.set_yticks(range(len(features)), features, fontsize=8)
        for name, label in zip(features, axes.get_yticklabels(), strict=True):
            label.set_color("#999999" if name in _context_features() else "#000000")
        step = max(1, len(weeks) // 12)
        axes.set_xticks(range(0, len(weeks), step), weeks[::step], fontsize=7, rotation=30, ha="right")
    return _png(figure)


def _context_features() -> set[str]:
    """The features that a version of the model's feature group calls context."""
    include = PROJECT / "include"
    pinned = yaml.safe_load((include / "models" / f"{MODEL}.yaml").read_text(encoding="utf-8"))["features"]
    versions = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in include.glob(f"features/{pinned['group']}_v*.yaml")]
    return {name for version in versions for name, column in version["columns"].items() if column.get("context")}


def time_picture(facts: Facts) -> str:
    """How long each DAG run took, in the order of their starts; a colour for each DAG."""
    figure, axes = _figure(9.5, 0.22 * max(len(facts.runs), 4) + 0.8)
    palette = dict(zip(DAGS, ["#4c78a8", "#72b7b2", "#54a24b", "#f58518", "#e45756"], strict=True))
    names = [run["dag"] for run in facts.runs]
    axes.barh(range(len(names)), [run["seconds"] for run in facts.runs], color=[palette[name] for name in names])
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("seconds, from the start of its first task to the end of its last")
    return _png(figure)

# SPDX-License-Identifier: MIT
# Draws the figures of a run of the benchmark suite: one chart for each row that has one, and chart.svg and chart.png with
# the rows that README.md shows.
# Usage: python3 scripts/bench/chart.py build/bench/results.tsv DIRECTORY
import csv
import os
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

SUMMARY = ["chart_yield", "chart_spawn", "chart_memory", "chart_sync", "chart_echo", "chart_http"]
OWN, YARDSTICK, PEER = "#c8102e", "#8a8f98", "#4a7fb5"


def read(path):
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    facts = dict(line[2:].split(": ", 1) for line in lines if line.startswith("# "))
    rows = csv.DictReader((line for line in lines if not line.startswith("# ")), delimiter="\t",
                          quoting=csv.QUOTE_NONE)
    charts = {}
    for row in rows:
        if row["chart"]:
            charts.setdefault((row["chart"], row["row"], row["title"], row["more_is_better"]), []).append(row)
    return facts, charts


def color(row):
    if row["runtime"] == "grun":
        return OWN
    return YARDSTICK if row["runtime"] in ("c", "luajit", "libluajit") else PEER


def draw(axes, chart, rows):
    _, title, figure, more_is_better = chart
    rows = sorted(rows, key=lambda row: float(row["median"]), reverse=more_is_better == "1")
    values = [float(row["median"]) for row in rows]
    bars = axes.barh([row["subject"] for row in rows], values, color=[color(row) for row in rows])
    axes.bar_label(bars, [row["text"] for row in rows], padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, max(values) * 1.25)
    axes.set_title(title, fontsize=9, loc="left")
    axes.set_xlabel("%s, %s is better" % (figure, "more" if more_is_better == "1" else "less"), fontsize=8)
    axes.tick_params(labelsize=8)
    axes.set_xticks([])
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)


def save(figure, path):
    for ending in ("svg", "png"):
        metadata = {"Date": None} if ending == "svg" else {}
        figure.savefig("%s.%s" % (path, ending), dpi=120, metadata=metadata)
    plt.close(figure)


def draw_one(chart, rows, path):
    figure, axes = plt.subplots(figsize=(7, 0.9 + 0.28 * len(rows)), layout="constrained")
    draw(axes, chart, rows)
    save(figure, path)


def draw_summary(facts, charts, path):
    chosen = [chart for name in SUMMARY for chart in charts if chart[0] == name]
    if not chosen:
        return
    lines = (len(chosen) + 1) // 2
    figure, grid = plt.subplots(lines, 2, figsize=(11, 2.7 * lines + 0.5), layout="constrained", squeeze=False)
    for axes, chart in zip(grid.flat, chosen):
        draw(axes, chart, charts[chart])
    for axes in grid.flat[len(chosen):]:
        axes.set_visible(False)
    source = ", ".join(facts[name] for name in ("Command", "Date", "Processor", "System"))
    figure.supxlabel(source, fontsize=8)
    save(figure, path)


def main():
    plt.rcParams["svg.fonttype"] = "none"
    plt.rcParams["svg.hashsalt"] = "grun"
    facts, charts = read(sys.argv[1])
    for chart, rows in charts.items():
        draw_one(chart, rows, os.path.join(sys.argv[2], chart[0]))
    draw_summary(facts, charts, os.path.join(sys.argv[2], "chart"))


main()

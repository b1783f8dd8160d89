"""The figure of the diagnosis."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from utils.reports.diagnosis_measures import Diagnosis

# {what the panels of a row share: {title of a panel: measure}}
PANELS = {
    "squared MMD": {
        "from real old to real new images": "mmd_new", "from real old images to dreams": "mmd_dreams"},
    "linear CKA with the teacher": {
        "on real old images": "cka_old", "on dreams": "cka_dreams", "on real new images": "cka_new"},
    "share (%)": {
        "real old images called new": "old_as_new", "dreams called new": "dreams_as_new",
        "real new images called old": "new_as_old"},
    "top-1 accuracy (%)": {
        "all classes seen, by the classifier": "top1", "all classes seen, by the nearest class mean": "ncm"},
    "mean length": {
        "classifier's rows, old classes": "norm_old", "classifier's rows, the task's classes": "norm_new"},
}
# Okabe and Ito 2008
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#000000", "#7F7F7F")
MARKERS = "os^vD<>PX*hp"


def diagnosis_figure(diagnoses: Sequence[Diagnosis]) -> Figure:
    """One panel per measure, one line per run, task by task."""
    figure = Figure(figsize=(10.5, 11.9), layout="constrained")
    grid = figure.subplots(len(PANELS), 3, sharey="row")
    last = max(task for diagnosis in diagnoses for task in diagnosis.values)
    for row, (shared, panels) in zip(grid, PANELS.items()):
        for axes, (title, name) in zip(row, panels.items()):
            for place, diagnosis in enumerate(diagnoses):
                axes.plot(
                    list(diagnosis.values), [values[name] for values in diagnosis.values.values()],
                    color=COLOURS[place % len(COLOURS)], marker=MARKERS[place % len(MARKERS)],
                    markersize=5, linewidth=1.5)
            if name.startswith("mmd"):
                axes.set_yscale("symlog", linthresh=0.01)  # small between real images, at times below 0
                axes.set_yticks([0, 0.01, 0.1, 1], ["0", "0.01", "0.1", "1"])
                axes.set_ylim(top=2)
            if shared.endswith("(%)"):
                axes.set_ylim(-4, 104)
            axes.set_title(title, fontsize=10)
            axes.set_xlabel("after task", fontsize=9)
            axes.set_xticks(range(2, last + 1) if last <= 10 else range(2, last + 1, 2))
            axes.set_xlim(1.7, last + 0.3)
            axes.tick_params(labelsize=8)
            axes.grid(axis="y", color="#E5E5E5", linewidth=0.7)
            axes.spines[["top", "right"]].set_visible(False)
        row[0].set_ylabel(shared, fontsize=9)
        for axes in row[len(panels) :]:
            axes.set_axis_off()
    names = [
        diagnosis.name + " (validation images)" * (diagnosis.images == "validation")
        for diagnosis in diagnoses]
    shown = [name if len(name) <= 40 else f"…{name[-39:]}" for name in names]
    grid[0, 2].legend(
        grid[0, 0].get_lines(), shown, loc="center left", fontsize=9 if len(names) <= 8 else 7, frameon=False)
    return figure

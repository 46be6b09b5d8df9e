# mypy: ignore-errors
# %% [markdown]
# # Performance analysis
#
# The three figures of the assignment (a line graph, a histogram of cold starts, a histogram of warm requests), drawn
# twice: once by the usual rule, which calls every request before a chosen moment cold, and once from the truth, which
# knows for each request the execution environment that served it.
#
# Run this notebook in the run's folder (it reads `requests.csv`, `journal.jsonl` and `run.json`); it needs
# `pip install "preheat[report]"`.

# %%
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image, Markdown, display

from preheat.analysis import words
from preheat.analysis.anatomy import cold_anatomies
from preheat.analysis.figures import FIGURES
from preheat.analysis.figures.histograms import bin_edges
from preheat.analysis.figures.style import milliseconds, png
from preheat.analysis.figures.waterfall import median_and_worst
from preheat.analysis.labels import Label
from preheat.analysis.reading import explanation
from preheat.analysis.study import load_study
from preheat.analysis.summary import summarise

study = load_study(".")
summary = summarise(study, {})
sent_s, response_ms = study.answered
if study.log_only is not None:  # there is only the function's log: its lines are the requests
    is_cold = study.log_only.is_cold
else:
    is_cold = np.array([item.label is Label.COLD for item in study.labelled if item.request.status], dtype=bool)


def show(name):
    figure, alternative = FIGURES[name][0](study, summary, False)
    display(Image(png(figure), alt=alternative))


print("\n".join(words.ten_lines(study, summary, cold_anatomies(study))))

# %% [markdown]
# ## Response time over time
#
# Median, 95th percentile and maximum for each second. Every cold start is a point of its own.

# %%
show("line")

# %% [markdown]
# ## The usual rule: choose the moment at which the cold starts ended
#
# `cold_start_end_time` (seconds since the first request) is to be read off the line graph. It is filled in here as an
# eye would: the end of the last second in which the median response time was above twice that of the whole run.
# Change it and run the cells again.

# %%
order = np.argsort(sent_s, kind="stable")
seconds, first = np.unique(sent_s[order].astype(int), return_index=True)
parts = np.split(response_ms[order], first[1:]) if len(first) else []
limit_ms = 2 * np.median(response_ms) if len(response_ms) else 0.0
slow = [second for second, part in zip(seconds, parts, strict=True) if np.median(part) > limit_ms]
cold_start_end_time = float(max(slow) + 1) if slow else 0.0
called_cold = sent_s < cold_start_end_time
print(f"cold_start_end_time = {cold_start_end_time:.1f} s")
both = called_cold & is_cold
print(f"cold by the rule: {called_cold.sum():,}; cold in truth: {is_cold.sum():,}; both: {both.sum():,}")
if summary["label_method"] == "none":
    print("(There is no journal: what is cold in truth is not known, and counted as none here.)")

# %% [markdown]
# ## Histogram of cold starts
#
# First what the rule calls cold, then the truth: the requests that really were the first of their environment, and
# apart from them the warm ones that only waited while others started.


# %%
def histogram(values, title):
    if not len(values):
        print(f"{title}: none")
        return
    p5, p50, p95 = np.percentile(values, [5, 50, 95])
    _, axes = plt.subplots(figsize=(9, 3.2), layout="constrained")
    edges = bin_edges(values, 50)
    axes.hist(values, bins=edges, color="#999999")
    for name, value, dashes in (("p5", p5, ":"), ("p50", p50, "-"), ("p95", p95, "--"), ("mean", values.mean(), "-.")):
        axes.axvline(value, color="black", ls=dashes, lw=1.1, label=f"{name} {words.duration(value)}")
    milliseconds(axes.xaxis, edges[0], edges[-1], fine=True)
    axes.set(title=title, xlabel="response time (ms)", ylabel="requests")
    axes.legend()
    plt.show()


histogram(response_ms[called_cold], "Called cold by the rule")

# %%
show("cold_histogram")

# %% [markdown]
# ## Histogram of warm requests
#
# First what the rule calls warm, then the truth.

# %%
histogram(response_ms[~called_cold], "Called warm by the rule")

# %%
show("warm_histogram")

# %% [markdown]
# ## Where the time of a cold start went

# %%
if median_and_worst(study):
    show("waterfall")
else:
    print("No cold start of this run can be taken apart: none is known, or only the client's side of it.")

# %% [markdown]
# ## Explanation

# %%
for paragraph in explanation(study, summary, cold_anatomies(study)):
    display(Markdown(paragraph))

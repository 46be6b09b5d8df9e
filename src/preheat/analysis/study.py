"""A run with its labels: what every table, figure and sentence is made from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from preheat.analysis.connections import Setup, find_setup
from preheat.analysis.labels import Accounting, Label, LabelledRequest, Method, account, label_requests
from preheat.analysis.latency_labels import Model, label_by_times
from preheat.analysis.log_labels import LogUse, label_by_log
from preheat.analysis.run_folder import RunFolder, read_inputs, read_run
from preheat.analysis.server_log import OK, ServerLog
from preheat.kernel.events import InitDone, Restored

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

WARM_LABELS = (Label.WARM, Label.WARM_WAITED)
_CODES = {label: number for number, label in enumerate(Label)}


@dataclass
class Study:
    """`labelled` in the order sent; empty where there is only a function's log (`log_only`)."""

    folder: RunFolder
    labelled: list[LabelledRequest]
    accounting: Accounting | None
    """None where the run has no journal."""
    inits: dict[str, InitDone]
    """The last initialisation of each environment."""
    method: Method = Method.NONE
    use: LogUse | None = None
    """What became of the log's lines; None where they were of no use."""
    model: Model | None = None
    """What the times alone showed; None where they were not asked."""
    setup: Setup = field(default_factory=Setup)
    restored: dict[str, Restored] = field(default_factory=dict)
    """The restore of each environment that came from a snapshot."""
    lengths_ms: Floats | None = field(default=None, repr=False)
    """What `anatomy.lengths` has worked out."""
    _series: dict[tuple[Label, ...], tuple[Floats, Floats]] = field(default_factory=dict, repr=False)
    """What `series` has worked out: of ten million lines it takes a tenth of a second each time."""

    @property
    def label_method(self) -> str:
        return str(self.method)

    @property
    def log(self) -> ServerLog | None:
        return self.folder.log

    @property
    def log_only(self) -> ServerLog | None:
        """The function's log, where there is no client's record beside it."""
        log = self.folder.log
        return log if log is not None and len(log) and not self.labelled else None

    @cached_property
    def start_s(self) -> float:
        """Epoch seconds at which the first request was sent; 0 without requests."""
        if self.log_only is not None:
            return float((self.log_only.start_ms - self.log_only.carried_ms).min()) / 1000
        return self.labelled[0].request.start_s if self.labelled else 0.0

    @cached_property
    def span_s(self) -> float:
        """First request sent until last answer received."""
        if self.log_only is not None:
            return float(self.log_only.at_ms.max()) / 1000 - self.start_s
        return max((item.request.end_s for item in self.labelled), default=0.0) - self.start_s

    @property
    def function(self) -> str:
        return str(self.folder.info.get("function") or "the function")

    @cached_property
    def counts(self) -> Counter[Label]:
        """Requests by label."""
        import numpy as np

        log = self.log_only
        if log is None:
            numbers = np.bincount(self._codes, minlength=len(_CODES)).tolist()
            return Counter({label: number for label, number in zip(_CODES, numbers, strict=True) if number})
        cold, failed = log.is_cold, log.status != OK
        return Counter(
            {
                Label.COLD: int(cold.sum()),
                Label.FAILED_IN_FUNCTION: int((~cold & failed).sum()),
                Label.WARM: int((~cold & ~failed).sum()),
            }
        )

    @property
    def confidence(self) -> float:
        """Mean probability of the labels that claim something to be right; 0 where nothing is claimed."""
        if self.log_only is not None:
            return round(float(abs(self.log_only.cold - 0.5).mean() + 0.5), 4)
        known = [i.probability for i in self.labelled if i.label not in (Label.UNKNOWN, Label.UNMATCHED)]
        return round(sum(known) / len(known), 4) if known and self.method is not Method.NONE else 0.0

    @cached_property
    def _codes(self) -> NDArray[np.int8]:
        """The label of each request as its place in `_CODES`."""
        import numpy as np

        return np.fromiter((_CODES[item.label] for item in self.labelled), np.int8, len(self.labelled))

    @cached_property
    def _served(self) -> NDArray[np.bool_]:
        import numpy as np

        return np.fromiter((item.served for item in self.labelled), bool, len(self.labelled))

    @cached_property
    def _answered(self) -> NDArray[np.bool_]:
        import numpy as np

        return np.fromiter((item.request.status != 0 for item in self.labelled), bool, len(self.labelled))

    @cached_property
    def _sent(self) -> tuple[Floats, Floats]:
        """(seconds since the run began, milliseconds) of each request."""
        import numpy as np

        count = len(self.labelled)
        at = np.fromiter((item.request.start_s for item in self.labelled), float, count) - self.start_s
        return at, np.fromiter((item.request.response_ms for item in self.labelled), float, count)

    def is_label(self, *labels: Label) -> NDArray[np.bool_]:
        """Which requests have one of the labels."""
        import numpy as np

        return np.isin(self._codes, [_CODES[label] for label in labels])

    def _items(self, chosen: NDArray[np.bool_]) -> list[LabelledRequest]:
        return [self.labelled[place] for place in chosen.nonzero()[0].tolist()]

    def select(self, *labels: Label) -> list[LabelledRequest]:
        return self._items(self.is_label(*labels))

    def served(self, *labels: Label) -> list[LabelledRequest]:
        """Those of the labels that the function served without failing, to be timed."""
        return self._items(self.is_label(*labels) & self._served)

    def times_ms(self, *labels: Label) -> Floats:
        """Response times at the client of `served(*labels)`; the function's own where no client tells."""
        return self.series(*labels)[1]

    def series(self, *labels: Label) -> tuple[Floats, Floats]:
        """(seconds since the run began at which each was sent, milliseconds) of `served(*labels)`; read-only."""
        if labels not in self._series:
            self._series[labels] = self._worked_out(labels)
        return self._series[labels]

    def _worked_out(self, labels: tuple[Label, ...]) -> tuple[Floats, Floats]:
        import numpy as np

        if (log := self.log_only) is not None:
            wanted = (Label.COLD in labels, Label.WARM in labels)
            if not any(wanted):
                return np.empty(0), np.empty(0)
            good = log.status == OK
            return self._log_series(log, good if all(wanted) else good & (log.is_cold == wanted[0]))
        chosen = self.is_label(*labels) & self._served
        return self._sent[0][chosen], self._sent[1][chosen]

    @cached_property
    def answered(self) -> tuple[Floats, Floats]:
        """(seconds since the run began, milliseconds) of every request that got an answer, whatever it was."""
        import numpy as np

        if (log := self.log_only) is not None:
            return self._log_series(log, np.ones(len(log), dtype=bool))
        return self._sent[0][self._answered], self._sent[1][self._answered]

    def _log_series(self, log: ServerLog, chosen: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        times = log.duration_ms[chosen] + log.carried_ms[chosen]
        at = log.at_ms[chosen]
        at -= times
        at /= 1000
        at -= self.start_s
        return at, times

    def slowest(self, share: float) -> Counter[str]:
        """Labels of the slowest `share` (0-1, at least one request) of all that got an answer."""
        import numpy as np

        if (log := self.log_only) is not None:
            held = max(int(np.ceil(len(log) * share)), 1)
            cold = int(log.is_cold[np.argpartition(log.duration_ms + log.carried_ms, -held)[-held:]].sum())
            return Counter({key: value for key, value in (("cold", cold), ("warm", held - cold)) if value})
        places = np.flatnonzero(self._answered)
        slowest = places[np.argsort(-self._sent[1][places], kind="stable")][: -int(-len(places) * share // 1)]
        return Counter(str(self.labelled[place].label) for place in slowest.tolist())


def load_study(*paths: Path | str) -> Study:
    """Read and label a run's folder, or several files together. Raises PreheatError where there is nothing to read."""
    if len(paths) == 1 and Path(paths[0]).is_dir():
        return make_study(read_run(Path(paths[0])))
    return make_study(read_inputs([Path(path) for path in paths], Path(paths[0]).parent))


def make_study(folder: RunFolder) -> Study:
    """Label by the best that there is: the journal, then the function's log, then the times alone."""
    rows = folder.table.rows
    setup = find_setup(rows, folder.ramps)
    if folder.journal is not None:
        labelled = label_requests(rows, folder.journal)
        inits = {record.environment: record for record in folder.journal.inits}
        restored = {record.environment: record for record in folder.journal.restored}
        accounting = account(labelled, folder.journal)
        return Study(folder, labelled, accounting, inits, Method.REQUEST_ID, setup=setup, restored=restored)
    if not rows:
        method = Method.REQUEST_ID if folder.log is not None and len(folder.log) else Method.NONE
        return Study(folder, [], None, {}, method, setup=setup)
    if (
        folder.log is not None
        and (found := label_by_log(rows, folder.log, setup, local=folder.clock == "local")) is not None
    ):
        labelled, use = found
        return Study(folder, labelled, None, {}, use.method, use, setup=setup)
    labelled, model = label_by_times(rows, setup)
    claims = any(item.method is Method.LATENCY_MODEL and item.label in (*WARM_LABELS, Label.COLD) for item in labelled)
    method = Method.LATENCY_MODEL if claims else Method.NONE
    return Study(folder, labelled, None, {}, method, None, model, setup)

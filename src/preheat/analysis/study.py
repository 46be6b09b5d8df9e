"""A run with its labels: what every table, figure and sentence is made from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from preheat.analysis.labels import Accounting, Label, LabelledRequest, account, label_requests
from preheat.analysis.run_folder import RunFolder, read_run
from preheat.kernel.events import InitDone

WARM_LABELS = (Label.WARM, Label.WARM_WAITED)


@dataclass(slots=True)
class Study:
    folder: RunFolder
    labelled: list[LabelledRequest]
    accounting: Accounting | None
    """None where the run has no journal."""
    inits: dict[str, InitDone]
    """The last initialisation of each environment."""

    @property
    def label_method(self) -> str:
        return "none" if self.accounting is None else "request-id"

    @property
    def start_s(self) -> float:
        """Epoch seconds at which the first request was sent; 0 without requests."""
        return self.labelled[0].request.start_s if self.labelled else 0.0

    @property
    def span_s(self) -> float:
        """First request sent until last answer received."""
        return max((item.request.end_s for item in self.labelled), default=0.0) - self.start_s

    @property
    def function(self) -> str:
        return str(self.folder.info.get("function") or "the function")

    def select(self, *labels: Label) -> list[LabelledRequest]:
        return [item for item in self.labelled if item.label in labels]

    def served(self, *labels: Label) -> list[LabelledRequest]:
        """Those of the labels that the function served without failing, to be timed."""
        return [item for item in self.select(*labels) if item.invocation is not None and item.invocation.status == "ok"]

    def times_ms(self, *labels: Label) -> list[float]:
        """Response times at the client of `served(*labels)`."""
        return [item.request.response_ms for item in self.served(*labels)]

    def slowest(self, share: float) -> list[LabelledRequest]:
        """The slowest `share` (0-1, at least one request) of all that got an answer."""
        answered = sorted((item for item in self.labelled if item.request.status), key=lambda i: -i.request.response_ms)
        return answered[: math.ceil(len(answered) * share)]


def load_study(path: Path | str) -> Study:
    """Read and label a run's folder. Raises PreheatError where it is none."""
    return make_study(read_run(Path(path)))


def make_study(folder: RunFolder) -> Study:
    labelled = label_requests(folder.table.rows, folder.journal)
    if folder.journal is None:
        return Study(folder, labelled, None, {})
    inits = {record.environment: record for record in folder.journal.inits}
    return Study(folder, labelled, account(labelled, folder.journal), inits)

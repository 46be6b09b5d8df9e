"""The page is one well-formed file, needs nothing from elsewhere and trusts nothing from the run."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import synthetic
from analysis_cases import Case

from preheat.analysis.anatomy import cold_anatomies
from preheat.analysis.figures import draw_all
from preheat.analysis.page import render_page, tight
from preheat.analysis.study import load_study
from preheat.analysis.summary import summarise

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """Checks nesting and gathers what the tests ask about."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).replace("\N{NO-BREAK SPACE}", " ").split())


def page_of_case(case: Case) -> tuple[str, Page]:
    html = render_page(
        case.study, case.summary | {"files": {"requests": "requests.csv"}}, case.anatomies, case.drawings
    )
    return html, Page(html)


def page_of(folder: Path, figures: Path) -> tuple[str, Page]:
    study = load_study(folder)
    summary: dict[str, Any] = summarise(study, {})
    html = render_page(study, summary, cold_anatomies(study), draw_all(study, summary, figures))
    return html, Page(html)


def test_every_run_gives_a_page(case: Case) -> None:
    _, page = page_of_case(case)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert page.text.count("How the run was made") == 1
    assert "None" not in page.text.replace("None of", "")


def test_nothing_is_fetched_from_anywhere(cases: dict[str, Case]) -> None:
    html, page = page_of_case(cases["typical"])
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe"}
    fetched = [a.get(name) for _, a in page.tags for name in ("src", "href", "xlink:href") if a.get(name)]
    assert all(str(target).startswith("#") for target in fetched)
    assert "@import" not in html
    assert "url(http" not in html


def test_figures_have_alternative_text(cases: dict[str, Case]) -> None:
    _, page = page_of_case(cases["typical"])
    images = [attributes for _, attributes in page.tags if attributes.get("role") == "img"]
    assert len(images) == 4
    assert all(len(str(image["aria-label"])) > 60 for image in images)


def test_cold_starts_stand_in_the_table_one_by_one(cases: dict[str, Case]) -> None:
    case = cases["typical"]
    _, page = page_of_case(case)
    environments = [a["title"] for tag, a in page.tags if tag == "code" and a.get("title")]
    served = [item.invocation.environment for item, _ in case.anatomies if item.invocation]
    assert environments == served


def test_the_sample_invocation_is_shown(cases: dict[str, Case]) -> None:
    _, page = page_of_case(cases["typical"])
    assert '200 {"predictions": [0], "species": ["<setosa>"]}' in page.text
    assert "END RequestId: 3f7c REPORT RequestId: 3f7c" in page.text


def test_whatever_comes_from_the_run_is_escaped(tmp_path: Path) -> None:
    run = synthetic.make_run(users=3, run_time_s=3)
    evil = '"><script>alert(1)</script>'
    for record in run.journal:
        record["environment"] = evil + record["environment"]
    folder = run.write(tmp_path)
    info = (folder / "run.json").read_text()
    for text in ("iris", "process", "3.11.7", "locustfile.py", "setosa"):
        info = info.replace(text, evil.replace('"', '\\"'))
    (folder / "run.json").write_text(info)
    html, page = page_of(folder, tmp_path / "figures")
    assert "<script" not in html
    assert evil in page.text


def test_odd_run_information_does_not_matter(tmp_path: Path) -> None:
    folder = synthetic.make_run(users=2, run_time_s=2).write(tmp_path)
    odd = '{"sample": 5, "machine": "big", "locust_argv": "locust -f x", "started_at": "today", "users": "many"}'
    (folder / "run.json").write_text(odd)
    _, page = page_of(folder, tmp_path / "figures")
    assert "locust -f x" in page.text


def test_numbers_keep_their_units() -> None:
    assert tight("2.04 s, 4.6 ms and 3 starts") == "2.04\u00a0s, 4.6\u00a0ms and 3 starts"

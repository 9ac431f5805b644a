"""The page in a real browser: Chromium, headless, through Playwright."""

import csv
import json
import os
import shutil
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from results.literature import published
from results.page.build import page
from results.page.data import page_data
from tests.results.page.planted import HOSTILE, job_array, machine, one_epoch, processes, run

pytest.importorskip("jinja2")
pytest.importorskip("plotly")

pytestmark = pytest.mark.slow

STEPS = ["cifar10/ladder/00-resnet18", "cifar10/ladder/01-no-duplicate", "cifar10/ladder/02-preprocess-once"]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    nights = [run(day, factor=1 + 0.1 * (day >= 8)) for day in range(16)]
    steps = [
        run(20 + number, recipe_name=name, recipe={"epochs": 3, "change": name[-6:], "table": "ladder"}, factor=factor)
        for number, (name, factor) in enumerate(zip(STEPS, (1, 1 / 2, 1 / 3), strict=True))
    ]
    hostile = run(
        30,
        recipe_name=HOSTILE,
        recipe={"title": HOSTILE, "data": {"name": "cifar10"}},
        environment=machine("NVIDIA H200", origin=HOSTILE, strategy=HOSTILE),
        factor=3,
    )
    others = [
        run(40, recipe_name="cifar10/airnet", environment=machine("NVIDIA H100"), factor=0.5),
        run(41, recipe_name="mnist/base", factor=0.1, foreign_load=0.5, command=["bench/run.py", "mnist/*"]),
        run(42, recipe_name="mnist/base", smoke_test=True),
        *(run(50 + number, trials=3, recipe_name=f"mnist/net-{number:02}", factor=1 + number) for number in range(14)),
        *(one_epoch(90 + number, recipe_name=f"mnist/once-{number}") for number in range(20)),
        *job_array(110, recipe_name="array/<b>", recipe={"title": HOSTILE, "data": {"name": "array"}}),
        *(processes(70 + world, world) for world in (1, 2, 4)),
        processes(75, 2, strategy=HOSTILE),
        run(
            80,
            recipe_name="dawnbench/resnet",
            recipe={"data": {"name": "cifar10"}},
            environment=machine("1 x V100", origin="DAWNBench, Some Body", protocol="dawnbench"),
        ),
    ]
    data = page_data([*nights, *steps, hostile, *others], published().values(), repository="https://host.org/a/b")
    path = tmp_path_factory.mktemp("report") / "index.html"
    path.write_text(page(data, "Nights"), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
    with playwright.sync_playwright() as engine:
        installed = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        options = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        try:
            found = engine.chromium.launch(executable_path=installed, args=options)
        except playwright.Error as error:
            pytest.skip(f"no browser: {str(error).splitlines()[0]}")
        yield found
        found.close()


class Watched:
    """A page that remembers what it logged and what it loaded from elsewhere."""

    def __init__(self, browser, **options):
        self.messages = []
        self.view = browser.new_page(**({"viewport": {"width": 1200, "height": 900}} | options))
        self.view.set_default_timeout(120_000)
        self.view.on("console", lambda message: self.messages.append(message.text))
        self.view.on("pageerror", lambda error: self.messages.append(str(error)))
        self.view.on("request", lambda request: self.messages.append(request.url) if "http" in request.url else None)


@pytest.fixture(scope="module")
def pages():
    """Those that are open, by their options. All that a page shows depends on its address, so that tests share it."""
    return {}


@pytest.fixture
def visit(browser, pages, address):
    """Opens the page at a state; at the end it must have logged and loaded nothing, and run no script of a record."""

    def visit(state="", **options):
        key = json.dumps(options)
        if key not in pages:
            pages[key] = Watched(browser, **options)
        page = pages[key]
        page.view.goto(f"{address}#{state}")
        return page.view

    yield visit
    for one in pages.values():
        assert one.messages == []
        assert one.view.evaluate("window.broken") is None


def names(view, table=0):
    return view.locator("#leaderboard table").nth(table).locator("tbody .name a").all_inner_texts()


def titles(view, section="leaderboard"):
    return view.locator(f"#{section} h3").all_inner_texts()


def clipboard(view, button):
    view.context.grant_permissions(["clipboard-read", "clipboard-write"])
    button.click()
    view.locator("button:visible", has_text="copied").wait_for()
    return view.evaluate("navigator.clipboard.readText()")


def state(view):
    return {name: values[0] for name, values in parse_qs(urlsplit(view.url).fragment).items()}


def hover(view, points):
    """Over the second point of the first trial, until its label is shown."""
    point = view.locator(points).nth(1)
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    view.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    view.wait_for_selector(".hoverlayer .hovertext")


def test_machines_have_lists_of_their_own_the_longest_first(visit):
    view = visit("data=*")
    assert titles(view)[:2] == ["mnist to 94% · NVIDIA H200", "cifar10 to 94% · NVIDIA H200"]
    assert set(titles(view)[2:]) == {
        "cifar10 to 94% · NVIDIA H100",
        "array to 94% · NVIDIA H200",
        "digits to 94% · NVIDIA H200",
        "digits to 94% · 2 × NVIDIA H200",
        "digits to 94% · 4 × NVIDIA H200",
        "cifar10 to 94% · 1 x V100",
    }
    assert names(view, titles(view).index("cifar10 to 94% · NVIDIA H100")) == ["cifar10/airnet"]


def test_it_opens_with_the_data_set_of_most_runs_that_reached_their_target(visit):
    view = visit()
    assert view.locator("select[name=data]").input_value() == "cifar10"
    assert titles(view)[0] == "cifar10 to 94% · NVIDIA H200"


def test_what_reached_nothing_and_smoke_tests_are_in_a_closed_section(visit):
    view = visit("data=mnist")
    assert "mnist/once-0" not in names(view)
    section = view.locator("#unranked")
    assert section.locator("table").count() == 0
    section.locator("summary").click()
    section.locator("table").first.wait_for()
    assert state(view) == {"data": "mnist", "fold": "unranked"}
    assert titles(view, "unranked") == [
        "mnist to 94% · NVIDIA H200",
        "mnist to 94% · NVIDIA H200: smoke tests, whose numbers mean nothing",
    ]
    assert "mnist/once-0" in section.inner_text()


def test_sections_fold_and_a_link_keeps_them_folded(visit):
    view = visit("data=cifar10&fold=laps,curves")
    assert view.locator("#laps .chart").count() == view.locator("#curves .chart").count() == 0
    view.locator("#laps summary").click()
    view.locator("#laps .chart").first.wait_for()
    assert state(view)["fold"] == "curves"


@pytest.mark.parametrize("width", [1200, 390])
def test_the_contents_stay_and_lead_to_their_section(visit, width):
    view = visit("data=mnist&find=base", viewport={"width": width, "height": 800})
    contents = view.get_by_role("navigation", name="Contents")
    contents.get_by_role("link", name="Not ranked").click()
    title = view.locator("#unranked-title")
    assert title.is_visible()
    assert view.locator("#unranked details").get_attribute("open") is not None
    assert contents.bounding_box()["y"] == pytest.approx(0, abs=2)
    contents.get_by_role("link", name="Laps").click()
    bar = contents if width < 700 else view.locator(".bar")
    below = bar.bounding_box()["y"] + bar.bounding_box()["height"]
    assert below <= view.locator("#laps-title").bounding_box()["y"] < below + 100
    assert state(view)["section"] == "laps"


def test_one_link_of_the_contents_is_marked_when_all_sections_are_folded(visit):
    view = visit("data=mnist&fold=leaderboard,curves,laps,differences,ladder,scaling,history")
    view.locator(".contents [aria-current=true]").wait_for()
    for height in range(400, 800, 4):
        view.set_viewport_size({"width": 1200, "height": height})
        view.evaluate("new Promise((seen) => requestAnimationFrame(() => requestAnimationFrame(seen)))")
        assert view.locator(".contents [aria-current=true]").count() == 1, height
    view.set_viewport_size({"width": 1200, "height": 900})


def test_busy_runs_are_marked_and_can_be_left_out(visit):
    view = visit("data=mnist")
    assert view.locator("#leaderboard tbody tr", has_text="mnist/base").first.locator(".mark").inner_text() == "‡"
    assert "other processes kept at least 10% of the CPUs busy" in view.locator("#marks").inner_text()
    view.get_by_label("no disturbed runs").check()
    assert "mnist/base" not in names(view)
    assert state(view)["calm"] == "1"


def test_the_command_of_a_row_can_be_copied(visit):
    view = visit("data=mnist&find=base")
    row = view.locator("#leaderboard tbody tr").first
    row.hover()
    button = row.get_by_role("button", name="copy the command of mnist/base, run abcd0041")
    assert clipboard(view, button) == "python bench/run.py 'mnist/*'"
    view = visit("run=abcd0041")
    assert clipboard(view, view.get_by_role("button", name="copy command")) == "python bench/run.py 'mnist/*'"


def test_the_title_follows_the_run(visit):
    view = visit("run=abcd0041")
    assert view.title() == "mnist/base, run abcd0041 · Nights"
    view.get_by_role("link", name="all runs").click()
    assert view.title() == "Nights"


def test_filters_act_and_stand_in_the_address(visit):
    view = visit()
    view.get_by_label("data set").select_option("mnist")
    assert titles(view)[0].startswith("mnist")
    view.get_by_label("protocol").select_option("dawnbench")
    assert state(view) == {"data": "mnist", "protocol": "dawnbench"}
    view.go_back()
    assert state(view) == {"data": "mnist"}
    assert view.get_by_label("protocol").input_value() == "strict"


def test_a_link_brings_back_what_was_seen(visit):
    view = visit("machine=NVIDIA+H100&protocol=airbench&axis=error")
    assert view.locator("select[name=machine]").input_value() == "NVIDIA H100"
    assert titles(view) == ["cifar10 to 94% · NVIDIA H100"]
    assert "airbench time" in view.locator("#clock").inner_text()
    assert view.locator("#curves .ytitle").all_text_contents() == ["error %"]


def test_a_link_to_what_is_not_there_shows_the_opening_view(visit):
    view = visit("data=nothing&protocol=fast&run=ffff&sort=luck&runs=none&section=nowhere&fold=nowhere")
    assert "Tick runs" in view.locator("#curves").inner_text()
    assert titles(view) == titles(visit())


def test_headers_sort_by_keyboard_too(visit):
    view = visit("data=cifar10&machine=NVIDIA+H200")
    fastest = names(view)
    assert fastest[0] == STEPS[2]
    button = view.get_by_role("button", name="time to target")
    button.focus()
    view.keyboard.press("Enter")
    assert names(view) == fastest[::-1]
    assert view.locator("th[aria-sort=descending]").inner_text().startswith("time to target")
    assert view.evaluate("document.activeElement.textContent").startswith("time to target")


def test_ticks_choose_what_the_charts_draw(visit):
    view = visit("data=mnist&find=base")
    assert view.locator("#curves .scatterlayer .trace").count() == 2
    view.get_by_role("checkbox", name="draw mnist/base").first.uncheck()
    assert state(view)["runs"] == "none"
    assert view.locator("#curves .chart").count() == 0


def test_a_table_can_be_downloaded_as_csv(visit):
    view = visit("data=mnist&find=base")
    with view.expect_download() as started:
        view.get_by_role("button", name="download CSV: mnist").first.click()
    rows = list(csv.reader(Path(started.value.path()).read_text().splitlines()))
    assert rows[0][:2] == ["recipe", "accuracy %"]
    assert rows[1][0] == "mnist/base ‡ running · 2 of 2 busy ‡"
    assert len({len(row) for row in rows}) == 1
    assert len(rows) == 2


def test_a_table_can_be_copied_as_markdown(visit):
    view = visit("data=mnist&find=base")
    text = clipboard(view, view.get_by_role("button", name="copy Markdown: mnist").first)
    head, line, row, *_ = text.splitlines()
    assert head.startswith("| recipe | accuracy % | ")
    assert set(line) == set("| -")
    assert row.startswith("| mnist/base ‡ running · 2 of 2 busy ‡ | ")


def test_texts_of_records_are_escaped_where_they_are_exported(visit):
    view = visit("data=cifar10&every=1")
    text = clipboard(view, view.get_by_role("button", name="copy Markdown: cifar10").first)
    assert "<img" not in text.replace(r"\<img", "")


def test_two_ticked_runs_are_compared_by_what_differs(visit):
    view = visit("data=cifar10")
    section = view.locator("#differences")
    assert "Tick two runs" in section.inner_text()
    runs = view.evaluate(
        "JSON.parse(document.getElementById('data').textContent).runs.map((run) => [run.plain, run.id])"
    )
    first, other = dict(runs)["cifar10/airnet"], dict(runs)["mnist/base"]
    view = visit(f"data=*&runs={first},{other}")
    text = view.locator("#differences table").inner_text()
    assert "cifar10/airnet" in text.splitlines()[0]
    assert "mnist/base" in text.splitlines()[0]
    assert "environment.versions.torch" not in text


def test_charts_have_no_toolbar(visit):
    view = visit("data=mnist&find=base")
    view.locator("#curves .chart").first.hover()
    assert view.locator("#curves .chart").count() > 0
    assert view.locator(".modebar-btn").count() == 0


def test_machines_and_published_figures_are_ranked_together_only_when_asked(visit):
    view = visit("data=cifar10&published=1&protocol=dawnbench")
    assert "published, each on its own hardware" in titles(view)[-1]
    assert view.locator("#leaderboard .tag").all_inner_texts() == [HOSTILE, "DAWNBench, Some Body"]
    view.get_by_label("rank machines").check()
    assert titles(view)[0] == "cifar10 to 94%"
    ranked = sum(
        one.dataset == "cifar10" and one.protocol == "dawnbench" and (one.accuracy or 0) >= 0.94
        for one in published().values()
    )
    view.get_by_role("button", name="show all").click()
    assert view.locator("#leaderboard .tag", has_text="published").count() == ranked > 0
    first = view.locator("#leaderboard table").first.locator("tbody .name").first
    assert "published" in first.inner_text(), "the planted runs take days"
    assert view.locator("#leaderboard .tag", has_text="DAWNBench").count() == 1


def test_a_long_list_is_cut_until_all_of_it_is_asked_for(visit):
    view = visit("data=mnist")
    assert len(names(view)) == 10
    view.get_by_role("button", name="show all 15").click()
    assert len(names(view)) == 15
    assert state(view)["full"] == "1"
    assert view.locator("#leaderboard table").first.locator(".strip").count() == 2 * 15


def test_recipes_are_found_by_a_part_of_their_name(visit):
    view = visit("data=mnist")
    view.get_by_label("recipe", exact=True).first.fill("NET-03")
    view.locator("#leaderboard .name", has_text="mnist/base").first.wait_for(state="detached")
    assert names(view) == ["mnist/net-03"]
    assert state(view)["find"] == "NET-03"
    assert view.locator("#curves .scatterlayer .trace").count() == 3 + 1  # its trials, and their middle


def test_an_imported_run_has_a_time_by_its_own_protocol_alone(visit):
    view = visit("machine=1+x+V100")
    assert view.locator("#leaderboard td.target").inner_text() == "–"
    view.get_by_label("protocol").select_option("dawnbench")
    assert view.locator("#leaderboard td.target").inner_text().startswith("33,03")


def test_scaling_curves_and_their_table(visit):
    view = visit("data=digits")
    scaling = view.locator("#scaling")
    rows = scaling.locator("table").first.locator("tbody tr")
    assert rows.locator("td:nth-child(5)").all_inner_texts() == ["1.00", "2.00", "4.00"]
    assert rows.locator("td:nth-child(6)").all_inner_texts() == ["100%", "100%", "100%"]
    assert scaling.locator(".scatterlayer .trace").count() == 2 * 3  # medians, trials, proportion
    assert HOSTILE[:30] in scaling.locator(".legendtext").last.text_content()
    view.locator("select[name=scaling]").select_option("total")
    assert scaling.locator(".ytitle").text_content() == "total s, strict time"
    assert state(view)["scaling"] == "total"


def test_a_name_that_is_markup_stays_text(visit):
    view = visit("data=cifar10&machine=NVIDIA+H200")
    assert HOSTILE in names(view)
    assert view.locator("img").count() == 0
    view.get_by_role("link", name=HOSTILE).first.click()
    assert view.locator("#run h2").inner_text() == HOSTILE
    assert view.locator("#run .legendtext").first.text_content().startswith(HOSTILE[:30])
    assert HOSTILE[:30] in view.locator("#run .yaxislayer-above").last.text_content()
    hover(view, "#run .scatterlayer .trace path.point")
    assert view.locator("#run .hoverlayer .name").text_content() == HOSTILE


def test_a_runs_page_can_be_linked_and_left(visit):
    view = visit("run=abcd0041")
    text = view.locator("#run").inner_text()
    assert view.locator("#run h2").inner_text() == "mnist/base"
    for piece in ("0123456789ab", "optimizer.lr", "versions.torch", "2.13.0", "python bench/run.py 'mnist/*'"):
        assert piece in text
    view.get_by_role("link", name="all runs").click()
    assert view.locator("#overview").is_visible()


def test_a_job_array_is_one_row_that_leads_to_its_runs(visit):
    view = visit("data=array&every=1")
    assert names(view) == ["array/<b>"]
    cells = view.locator("#leaderboard tbody tr").locator("td")
    assert cells.nth(1).inner_text().startswith("array/<b>\n5 runs, 2 hosts")
    assert cells.nth(3).inner_text() == "5 of 5"
    assert view.locator("#leaderboard tbody tr").get_by_role("button", name="copy command").count() == 0
    view.get_by_role("link", name="array/<b>").click()
    table = view.locator("#run table", has=view.locator("th", has_text="seeds"))
    assert table.locator("tbody tr td:nth-child(2)").all_inner_texts() == ["0", "1", "2", "3", "4"]
    assert view.locator("#run table", has=view.locator("th", has_text="over the other hosts")).count() == 1
    table.get_by_role("link", name="abcd0112").click()
    assert view.title() == "array/<b>, run abcd0112 · Nights"
    assert "copy command" in view.locator("#run").inner_text()
    view.get_by_role("link", name="one of 5 runs that are one row").click()
    assert state(view)["run"] == "pool-abcd0110"
    assert view.title() == "array/<b>, 5 runs · Nights"
    view.get_by_role("link", name="all runs").click()
    assert names(view) == ["array/<b>"]


def test_runs_of_a_row_count_once_in_the_heading_and_are_points_of_the_history(visit):
    view = visit("data=array")
    assert view.locator("#summary").inner_text().startswith("67 runs, 143 trials, ")
    view.locator("select[name=history]").select_option("array/<b> · array · NVIDIA H200 · 94%")
    assert view.locator("#history .scatterlayer .trace").last.locator("path.point").count() == 5


def test_the_ladder_is_a_waterfall_with_published_figures_beside_it(visit):
    view = visit("data=cifar10")
    ladder = view.locator("#ladder")
    assert ladder.locator(".waterfalllayer .point").count() == 4
    assert ladder.locator("tbody tr").nth(1).locator("td").nth(6).inner_text() == "-50.0%"
    assert "V100" in ladder.inner_text()
    view.locator("select[name=ladder]").select_option("epoch")
    assert "s per epoch" in ladder.locator("thead").inner_text()
    assert state(view)["ladder"] == "epoch"


def test_the_history_shows_the_step(visit):
    view = visit(f"history={quote('cifar10/airnet · cifar10 · NVIDIA H200 · 94%')}")
    assert view.locator("#history .annotation-text").all_text_contents() == ["+10.0%"]
    step = view.locator("#history tbody tr")
    assert step.locator("td").nth(0).inner_text().split() == ["+10.0%", "worse"]
    assert step.locator("td").nth(2).inner_text() == "2026-11-29, 0000000"
    link = step.get_by_role("link", name="...").get_attribute("href")
    assert link == f"https://host.org/a/b/compare/{7:040x}...{8:040x}"
    assert clipboard(view, step.get_by_role("button")) == f"git log --oneline {7:040x}..{8:040x}"
    view.locator("select[name=figure]").select_option("accuracy")
    assert view.locator("#history .annotation-text").count() == 0


def test_hovering_a_curve_shows_the_trial(visit):
    view = visit("data=mnist&find=base")
    hover(view, "#curves .scatterlayer .trace path.point")
    assert "94.00% after" in view.locator("#curves .hoverlayer").text_content()


def test_themes_follow_the_system_and_the_switch(visit):
    def paper(view):
        return view.evaluate("getComputedStyle(document.body).backgroundColor")

    light, dark = visit(color_scheme="light"), visit(color_scheme="dark")
    assert paper(light) != paper(dark)
    light.get_by_label("theme").select_option("dark")
    assert paper(light) == paper(dark)
    light.get_by_label("theme").select_option("")
    assert paper(light) != paper(dark)


@pytest.mark.parametrize("shown", ["", "published=1&across=1&protocol=dawnbench", "run=abcd0030", "run=pool-abcd0110"])
def test_a_phone_shows_it_without_scrolling_sideways(visit, shown):
    view = visit(shown, viewport={"width": 390, "height": 800})
    assert view.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_phone_shows_a_ladder_from_top_to_bottom(visit):
    view = visit("data=cifar10", viewport={"width": 390, "height": 800})
    boxes = [one.bounding_box() for one in view.locator("#ladder .waterfalllayer .point").all()]
    assert [box["y"] for box in boxes] == sorted(box["y"] for box in boxes)
    assert all(box["height"] > 8 for box in boxes)
    labels = view.locator("#ladder .yaxislayer-above text").all_text_contents()
    assert labels == ["00-resnet18", "01-no-duplicate", "02-preprocess-once", "all steps"]


def test_a_phone_hides_the_columns_of_less_weight(visit):
    view = visit(viewport={"width": 390, "height": 800})
    assert view.locator("#leaderboard th.target").first.is_visible()
    assert not view.locator("#leaderboard th.commit").first.is_visible()


def test_a_picture_of_it_is_no_blank(visit):
    """Every section has drawn something: its picture holds more than paper and text."""
    view = visit("data=cifar10")
    for section in ("curves", "laps", "ladder", "history"):
        picture = view.locator(f"#{section}").screenshot()
        assert len(picture) > 8000, section


@pytest.mark.parametrize(("theme", "width"), [("light", 1200), ("dark", 1200), ("dark", 390)])
@pytest.mark.parametrize(
    "shown", ["data=mnist&published=1&fold=unranked", "data=cifar10", "run=abcd0041", "run=pool-abcd0110"]
)
def test_axe_finds_no_violation(visit, theme, width, shown):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    view = visit(shown, color_scheme=theme, viewport={"width": width, "height": 800}, bypass_csp=True)
    found = axe.Axe().run(view, options={"resultTypes": ["violations"]}).response["violations"]
    assert {rule["id"]: [node["html"] for node in rule["nodes"][:3]] for rule in found} == {}

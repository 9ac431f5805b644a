import json
import subprocess
import sys
import time

import pytest

from bench import report
from results import store
from tests.results import builders
from tests.results.page.planted import needs_chrome

pytest.importorskip("jinja2")
pytest.importorskip("plotly")

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def keep(folder, record, trials):
    run = store.create(folder, record)
    for trial in trials:
        run.append(trial)
    run.finish("finished")
    return run.path


def test_the_page_is_written_and_its_path_printed(tmp_path, capsys):
    keep(tmp_path / "runs", builders.record(seeds=[0]), [builders.trial(0)])
    assert report.main([str(tmp_path / "runs"), "-o", str(tmp_path / "out"), "--title", "Nights & days"]) == 0
    assert capsys.readouterr().out == f"written: {tmp_path / 'out' / 'index.html'}\n"
    assert "<h1>Nights &amp; days</h1>" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


def test_runs_of_a_scaling_in_the_folder_are_on_the_page(tmp_path):
    keep(tmp_path / "runs", builders.record(seeds=[0]), [builders.trial(0)])
    keep(tmp_path / "runs" / "scaling_x", builders.record(id="ofscaling", seeds=[0], world_size=2), [builders.trial(0)])
    assert report.main([str(tmp_path / "runs"), "-o", str(tmp_path / "out")]) == 0
    assert "ofscaling" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


@needs_chrome
def test_pictures_are_written_where_asked_for(tmp_path):
    keep(tmp_path / "runs", builders.record(seeds=[0]), [builders.trial(0)])
    assert report.main([str(tmp_path / "runs"), "-o", str(tmp_path / "out"), "--png", "--svg"]) == 0
    kinds = sorted(path.suffix for path in (tmp_path / "out").iterdir())
    assert kinds == [".html", ".png", ".png", ".svg", ".svg"]


@pytest.mark.parametrize(("more", "word"), [([], "no run there"), (["--protocol", "fast"], "protocol='fast'")])
def test_an_error_of_the_user_is_one_line_and_status_2(tmp_path, capsys, more, word):
    if more:
        keep(tmp_path / "runs", builders.record(seeds=[0]), [builders.trial(0)])
    assert report.main([str(tmp_path / "runs"), "-o", str(tmp_path / "out"), "--png", *more]) == 2
    error = capsys.readouterr().err
    assert error.startswith("bench/report.py: error: ")
    assert word in error
    assert error.count("\n") == 1


def test_a_damaged_line_is_a_warning_and_the_rest_is_shown(tmp_path, capsys):
    path = keep(tmp_path / "runs", builders.record(seeds=[0]), [builders.trial(0)])
    with (path / "trials.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"index": 1, "se')
    assert report.main([str(tmp_path / "runs"), "-o", str(tmp_path / "out")]) == 0
    assert "skipped a damaged line" in capsys.readouterr().err


def test_pictures_without_chrome_are_one_line_and_status_2(tmp_path, capsys, monkeypatch):
    chromium = pytest.importorskip("choreographer.browsers.chromium", reason="needs kaleido")
    monkeypatch.setattr(chromium.Chromium, "find_browser", lambda **_: None)
    keep(tmp_path / "runs", builders.record(seeds=[0]), [builders.trial(0)])
    assert report.main([str(tmp_path / "runs"), "-o", str(tmp_path / "out"), "--svg"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("bench/report.py: error: pictures are drawn by Chrome or Chromium, which was not found")
    assert error.count("\n") == 1


def test_commits_are_linked_to_the_repository_that_is_named(tmp_path, capsys):
    keep(tmp_path / "runs", builders.record(seeds=[0]), [builders.trial(0)])
    arguments = [str(tmp_path / "runs"), "-o", str(tmp_path / "out"), "--repository"]
    assert report.main([*arguments, "git@host.org:a/b.git"]) == 0
    assert '"repository":"https://host.org/a/b"' in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert report.main([*arguments, "javascript:alert(1)"]) == 2
    assert "--repository javascript:alert(1): give an address" in capsys.readouterr().err


def test_help_waits_for_neither_plotly_nor_pydantic():
    program = (
        "import sys; from bench import report\ntry: report.parse(['--help'])\nexcept SystemExit: print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert not {"plotly", "jinja2", "pydantic", "torch"} & set(loaded.splitlines()[-1].split())


@pytest.mark.slow
def test_the_page_of_a_thousand_runs_is_small_and_costs_at_most_thirty_times_what_parsing_them_does(tmp_path):
    """The processor's time, both in one process. Twenty trials a run, no two with the same times."""
    marked = "987.25"
    trials = (builders.trial(seed, laps=builders.laps(load=float(marked))) for seed in range(20))
    lines = [trial.model_dump_json() for trial in trials]
    assert all(line.count(marked) == 1 for line in lines)
    for number in range(1000):
        record = builders.record(id=f"{number:08d}", seeds=list(range(20)), recipe_name=f"cifar10/net-{number % 50}")
        path = store.create(tmp_path / "runs", record).path
        of_run = (line.replace(marked, str(1 + number + seed / 7)) for seed, line in enumerate(lines))
        (path / "trials.jsonl").write_text("\n".join(of_run) + "\n", encoding="utf-8")
    start = time.process_time()
    assert report.main([str(tmp_path / "runs"), "-o", str(tmp_path / "out")]) == 0
    page = time.process_time() - start
    assert (tmp_path / "out" / "index.html").stat().st_size < 8e6
    start = time.process_time()
    for path in (tmp_path / "runs").glob("*/trials.jsonl"):
        for line in path.read_bytes().splitlines():
            json.loads(line)
    print(f"{page:.1f} s, json alone {time.process_time() - start:.1f} s")
    assert page < 30 * (time.process_time() - start)


def test_a_throttled_trial_is_marked_and_can_be_left_out(tmp_path, capsys):
    keep(tmp_path / "runs", builders.record(seeds=[0, 1]), [builders.trial(0), builders.throttled(1)])
    page = tmp_path / "out" / "index.html"
    arguments = [str(tmp_path / "runs"), "-o", str(tmp_path / "out")]
    assert report.main(arguments) == 0
    assert "1 of 2 throttled" in page.read_text(encoding="utf-8")
    capsys.readouterr()
    assert report.main([*arguments, "--discard-throttled"]) == 0
    assert "1 of 2 throttled" not in page.read_text(encoding="utf-8")
    assert "1 of 2 trials are left out: throttled" in capsys.readouterr().err

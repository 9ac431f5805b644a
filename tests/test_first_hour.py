"""The commands of docs/first-hour.md, as a newcomer runs them in a fresh clone."""

import pytest

from tests import page_commands
from tests.bench.conftest import ROOT

PAGE = ROOT / "docs" / "first-hour.md"
SECTIONS = page_commands.commands(PAGE)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("section", SECTIONS)
def test_the_commands_of_a_session_end_as_the_page_says(section, tmp_path):
    if not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout: the commands run in a clone of it")
    tree = page_commands.clone(tmp_path / "paceline")
    for command in SECTIONS[section]:
        page_commands.run(command, tree, tree)


def test_each_reader_has_a_session():
    assert list(SECTIONS) == ["A student on the ladder", "A researcher with an idea", "An engineer of a nightly job"]

"""docs/reliability.md names tests that exist, and a test for every fault."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / 'docs' / 'reliability.md').read_text(encoding='utf-8')
NAMED = re.findall(r'`(test_\w+\.py)::(test_\w+)`', TEXT)


def named_in(name):
    """Names of the test functions in the file of this name."""
    (path,) = (ROOT / 'test').rglob(name)
    return {node.name for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.FunctionDef) and node.name.startswith('test_')}


def test_every_named_test_exists():
    assert NAMED
    assert [named for named in NAMED if named[1] not in named_in(named[0])] == []


def test_every_fault_has_a_test():
    rows = [line for line in TEXT.splitlines() if line.startswith('| ')][1:]
    assert len(rows) > 20
    assert all(re.search(r'\| `test_\w+\.py::test_\w+` \|$', row) for row in rows)


def test_every_test_of_faults_is_named():
    """So that the table grows with the tests."""
    for path in (ROOT / 'test' / 'ros').glob('test_node_faults_*.py'):
        assert named_in(path.name) <= {test for name, test in NAMED if name == path.name}


def test_every_linked_file_exists():
    links = [link for link in re.findall(r'\]\(([^)]+)\)', TEXT) if not link.startswith('#')]
    assert links and all((ROOT / 'docs' / link).exists() for link in links)

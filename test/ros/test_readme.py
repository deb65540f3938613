"""README.md says what the code says."""
import json
from pathlib import Path
import re

from yolo_seg_node.ros.outputs import MASK_TOPICS, OVERLAY_TOPICS
from yolo_seg_node.ros.parameters import LIVE, PARAMETERS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / 'README.md').read_text(encoding='utf-8')


def section(title):
    """The text below a heading."""
    return README.split(f'\n## {title}\n')[1].split('\n## ')[0]


def rows(title):
    """First cell -> other cells of each row of a section's tables."""
    lines = [line.strip('|').split(' | ') for line in section(title).splitlines()
             if line.startswith('| `')]
    return {cells[0].strip(' `'): [cell.strip() for cell in cells[1:]] for cells in lines}


def test_parameters():
    wanted = {spec.name: [f'`{json.dumps(spec.default)}`',
                          spec.description + (' *(live)*' if spec.effect == LIVE else '')]
              for spec in PARAMETERS}
    assert rows('Parameters') == wanted


def test_work_config():
    schema = json.loads((ROOT / 'config/work_config.schema.json').read_text(encoding='utf-8'))
    required = dict.fromkeys(schema['required'], 'required')
    wanted = {key: [f'`{json.dumps(value["default"])}`' if 'default' in value else
                    required.get(key, ''), value['description']]
              for key, value in schema['properties'].items()}
    assert rows('Work config') == wanted


def test_topics():
    named = {name for key in rows('Topics') for name in re.split('`, `', key)}
    assert named == {'detections', 'label_info', '/diagnostics', *MASK_TOPICS, *OVERLAY_TOPICS}


def test_every_linked_file_exists():
    links = re.findall(r'\]\(([^)#]+)\)', README)
    assert links
    assert [link for link in links if not link.startswith('http') and not (ROOT / link).exists()] == []

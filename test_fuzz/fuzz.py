"""Run every target of ``targets.py`` for some time under atheris; see the Makefile.

What leads to new code is kept in the git-ignored folder ``test_fuzz/found`` and is where the next
run begins. An input that fails is written into the corpus: mend the code, give the file a name that
says what it shows, and commit it; ``make test`` runs the corpus.
"""
import argparse
import os
import subprocess
import sys
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parents[1]
FOUND = ROOT / 'test_fuzz' / 'found'
# Larger inputs find little and take long.
MAX_BYTES = 4096
MAX_MEMORY_MB = 2048
# One input may take so many seconds.
TIMEOUT_SECS = 20

sys.path.insert(0, str(ROOT))
with atheris.instrument_imports(include=['yolo_seg_node', 'zipfile', 'json']):
    from test_fuzz import targets


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seconds', type=int, default=20, help='for each target (%(default)s)')
    parser.add_argument('--target', choices=targets.TARGETS, action='append',
                        help='only this one; may be repeated')
    parser.add_argument('--inside', action='store_true', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        fuzz(args.target[0], args.seconds)
    failed = [name for name in args.target or targets.TARGETS if not passes(name, args.seconds)]
    print(f'{", ".join(failed)} FAILED; see above' if failed else 'every target passed')
    return 1 if failed else 0


def passes(name, seconds):
    """Whether a target survives; libFuzzer ends its process, so each has its own."""
    print(f'== {name}', flush=True)
    command = [sys.executable, __file__, '--inside', '--target', name, '--seconds', str(seconds)]
    # OpenCV says a line for each broken picture.
    silent = {**os.environ, 'OPENCV_LOG_LEVEL': 'SILENT'}
    return subprocess.run(command, env=silent).returncode == 0


def fuzz(name, seconds):
    found, corpus = FOUND / name, targets.CORPUS / name
    found.mkdir(parents=True, exist_ok=True)
    atheris.Setup([
        sys.argv[0], str(found), str(corpus), f'-artifact_prefix={corpus}/',
        f'-max_total_time={seconds}', f'-max_len={MAX_BYTES}', f'-timeout={TIMEOUT_SECS}',
        f'-rss_limit_mb={MAX_MEMORY_MB}', '-verbosity=0', '-print_final_stats=1'],
        lambda data: targets.run(name, data))
    atheris.Fuzz()


if __name__ == '__main__':
    sys.exit(main())

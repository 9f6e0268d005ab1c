"""Stand-in until the data layer is merged."""
import hashlib
import json
import os
import shlex
import subprocess
import sys

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def display_path(path):
    return os.path.relpath(path)


def data_checksum(meta):
    text = json.dumps([meta['tokenizer'], meta['splits']], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def is_prepared(folder, own_text, max_samples):
    return os.path.exists(os.path.join(folder, 'train.bin'))


def find_dataset(dataset, run_dir, own_text):
    folder = dataset if os.path.isdir(dataset) and os.path.exists(os.path.join(dataset, 'train.bin')) else \
        os.path.join(HERE, 'data', dataset)
    script = os.path.join(HERE, 'data', dataset, 'prepare.py')
    if not os.path.exists(script):
        script = None
    if script is None and not os.path.isdir(folder):
        raise SystemExit(f'dataset: there is no data/{dataset}')
    return (os.path.join(run_dir, 'data'), script) if own_text else (folder, script)


def prepare(folder, script, own_text, max_samples, tokenizer=''):
    arguments = [f'--input={os.path.abspath(own_text)}'] * bool(own_text)
    arguments += [f'--max_samples={max_samples}'] * (max_samples >= 0)
    command = [sys.executable, script, f'--out={folder}', *arguments]
    print(f'{folder}: not prepared yet; running: python {shlex.join(command[1:])}', flush=True)
    status = subprocess.run(command).returncode
    if status:
        raise SystemExit(status)

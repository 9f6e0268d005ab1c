"""Where the tokens are that a run was trained on."""
import os

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def dataset_of_run(out_dir, settings):
    """
    The folder of the train.bin and val.bin of the run in out_dir.

    settings: those of its checkpoint; a run on a text of its own keeps its bins in out_dir/data
    """
    own = os.path.join(out_dir, 'data')
    if os.path.isdir(own):
        return own
    return settings['dataset'] if os.path.isdir(settings['dataset']) else \
        os.path.join(ROOT, 'data', settings['dataset'])

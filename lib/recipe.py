"""
Settings that follow from others: the optimizer, its learning rate, and what --depth stands for.

    python train.py --depth=8 --dry_run    # prints the model and the run that it stands for

Standard library only, so that a script can use it before it loads torch.
"""
import math

OPTIMIZERS = 'muon', 'adamw'


def choose_optimizer(name, arch):
    """'muon' or 'adamw' for a name that may also be 'auto': Muon for modern, AdamW for gpt2."""
    return ('adamw' if arch == 'gpt2' else 'muon') if name == 'auto' else name


def derive_settings(settings, typed, from_files):
    """
    The settings of train.py that follow from others: learning_rate from the optimizer, much from depth.

    typed, from_files: names given on the command line and in config files, which win; but a depth on the
        command line wins over the sizes in a config file
    """
    all_adamw = choose_optimizer(settings['optimizer'], settings['arch']) == 'adamw'
    learning_rate = 1e-3 if all_adamw else 1e-2
    derived = {} if 'learning_rate' in typed | from_files else {'learning_rate': learning_rate}
    if settings['depth'] <= 0:
        return derived
    given = typed if 'depth' in typed else typed | from_files
    sizes = settings_of_depth(settings['depth'], settings['block_size'], learning_rate)
    return derived | {name: value for name, value in sizes.items() if name not in given}


def settings_of_depth(depth, block_size, learning_rate):
    """
    A model of `depth` layers, 64 times as wide, and a run of 10 tokens per parameter in 5,000 updates.

    learning_rate: AdamW's at a width of 128; it falls with the square root of the width, Muon's does not
    """
    width = 128 * math.ceil(depth / 2)
    n_params = 12 * depth * width ** 2 # of the blocks
    # a power of two, so that it divides among 2, 4 or 8 GPUs
    sequences = 1 << max(3, round(math.log2(10 * n_params / 5000 / max(1, block_size))))
    batch_size = min(sequences, 32)
    return {'n_layer': depth, 'n_embd': width, 'n_head': width // (64 if width < 768 else 128),
            'max_iters': 5000, 'batch_size': batch_size,
            'gradient_accumulation_steps': sequences // batch_size,
            'learning_rate': learning_rate * (128 / width) ** 0.5}

"""The table of parts: parameters and FLOPs are those of the model, and what torch counts for each part."""
import pytest
import torch
from conftest import FAMILIES, random_model, random_tokens
from torch.utils.flop_counter import FlopCounterMode

from lib.parts import count_parts, parts_table


@pytest.mark.parametrize('family', FAMILIES)
def test_parameters_and_flops_sum_to_those_of_the_model_and_each_matrix_has_what_torch_counts(family):
    model = random_model(**FAMILIES[family])
    rows = count_parts(model)
    assert sum(row[3] for row in rows) == model.n_params()
    assert sum(row[4] for row in rows) == model.flops_per_token()
    idx = random_tokens(2, 16) # the whole context
    with FlopCounterMode(display=False) as counter, \
            torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        model(idx, idx).backward()
    counted = {name: sum(flops.values()) / 32 for name, flops in counter.get_flop_counts().items()}
    found = {row[0]: row[4] for row in rows}
    for part in 'attn.c_attn', 'attn.c_proj', 'mlp.c_fc', 'mlp.c_proj':
        in_blocks = sum(flops for name, flops in counted.items() if name.endswith(f'.{part}'))
        assert found[f'each block: {part}.weight'] == in_blocks > 0
    tied = 'lm_head.weight' not in found
    assert found['wte.weight = lm_head.weight' if tied else 'lm_head.weight'] == 6 * 61 * 32
    assert tied or found['wte.weight'] == 0 # it is looked up, not multiplied
    assert found['each block: attention products'] == 12 * 2 * 32 * 16
    shapes = {row[0]: (row[1], row[2]) for row in rows}
    units = model.transformer.h[0].mlp.c_proj.in_features
    assert shapes['each block: mlp.c_proj.weight'] == (f'32 x {units}', 2)


def test_the_table_shows_the_shares_and_the_totals():
    model = random_model(**FAMILIES['gpt2'])
    lines = parts_table(model).splitlines()
    total = lines[-2].split()
    assert total == ['total', f'{model.n_params():,}', '100.0%', f'{model.flops_per_token() / 1e6:,.3f}']
    shares = [float(line.split()[-2].rstrip('%')) for line in lines[1:-2]]
    assert abs(sum(shares) - 100) < 0.05 * len(shares) and shares[0] == round(6100 * 32 / model.n_params(), 1)
    assert len({len(line) for line in lines[:-1]}) == 1 # aligned

"""
A table of what a GPT consists of: shapes, parameters, and the FLOPs that each part takes per token.

    python train.py config/train_tinystories.py --dry_run
    python sample.py --init_from=scratch
"""


def count_parts(model):
    """
    A list of (part, shape, times, parameters, FLOPs per token) in the order of the forward pass.

    A part is a parameter, with those of the same name in all blocks together, or the attention products.
    parameters: of all times together; a tied weight counts once
    FLOPs: of training, so that they sum to GPT.flops_per_token(): 2 for each multiplication and addition of a
        matrix product in the forward pass, 4 in the backward pass. That is 6 per weight of a matrix, except
        for looking up embeddings, which multiplies nothing; and 12 C T per block for scores and weighted
        values of T = block_size keys (as if attention were not causal: arXiv 2204.02311, appendix B). Norms,
        biases and activations are not counted. Generating a token takes a third, with a full context.
    """
    c, parts, found = model.config, {}, []
    for name, p in model.named_parameters():
        if name.startswith('transformer.h.'):
            name = 'each block: ' + name.split('.', 3)[3]
        parts.setdefault(name.removeprefix('transformer.'), []).append(p)
    for name, members in parts.items():
        p, count = members[0], sum(member.numel() for member in members)
        is_head = p is model.lm_head.weight
        multiplies = is_head or p.dim() > 1 and name not in ('wte.weight', 'wpe.weight')
        label = 'wte.weight = lm_head.weight' if is_head and name == 'wte.weight' else name
        found.append((label, ' x '.join(map(str, p.shape)), len(members), count, 6 * count * multiplies))
        if name == 'each block: attn.c_attn.bias' or name == 'each block: attn.c_attn.weight' and not c.bias:
            flops = 12 * c.n_layer * c.n_embd * c.block_size
            found.append(('each block: attention products', f'{c.block_size} keys', c.n_layer, 0, flops))
    return found


def parts_table(model):
    """The text of count_parts(model) with shares and totals, one part a line; FLOPs in millions."""
    rows = count_parts(model)
    total, flops = sum(row[3] for row in rows), sum(row[4] for row in rows)
    lines = [f'{"part":30} {"shape":>12} {"times":>6} {"parameters":>14} {"share":>7} MFLOPs/token']
    lines += [f'{part:30} {shape:>12} {times:>6} {count:>14,} {count / total:>7.1%} {each / 1e6:>12,.3f}'
              for part, shape, times, count, each in [*rows, ('total', '', '', total, flops)]]
    return '\n'.join([*lines, 'MFLOPs of training: a third in the forward pass; tokens have a full context'])

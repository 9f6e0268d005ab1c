# the real TinyStories on one GPU: 15 million parameters, most of them in the blocks
dataset = 'tinystories'
max_samples = 0 # all 2.1 million stories

batch_size = 128
block_size = 512
n_layer = 8
n_head = 6
n_embd = 384
tie_weights = True # a name that is read is a name that can be written
dropout = 0.0 # no story is seen more than a few times

learning_rate = 6e-3 # 1e-2 at 128 wide, less with the square root of the width
max_iters = 10000 # 655 million tokens
eval_interval = 500
sample_interval = 1000

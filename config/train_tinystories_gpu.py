# the full TinyStories dataset on one GPU: 15 million parameters, most of them in the blocks
dataset = 'tinystories'
max_samples = 0 # all 2.1 million stories

batch_size = 128
block_size = 512
n_layer = 8
n_head = 6
n_embd = 384
tie_weights = True # a name learned as input is then known as output too
dropout = 0.0 # every story is seen a few times at most

learning_rate = 6e-3 # 1e-2 at n_embd=128, falling with the square root of n_embd
max_iters = 10000 # 655 million tokens
eval_interval = 500
sample_interval = 1000

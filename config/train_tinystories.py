# short stories, on a laptop without a GPU: a few minutes from text to a model that writes them
dataset = 'tinystories'

# a story is about 200 tokens, so a context of 256 holds one with its beginning
block_size = 256
batch_size = 16
n_layer = 4
n_head = 4
n_embd = 128

max_iters = 1000
eval_interval = 250
sample_interval = 250 # watch it learn to write
log_interval = 20

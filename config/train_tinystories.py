# short stories, on a laptop without a GPU: a few minutes from text to a model that writes them
dataset = 'tinystories'

# a story is about 200 tokens, so a context of 256 holds one from its beginning to its end
block_size = 256
batch_size = 8 # small updates, many of them: on a CPU a bigger batch is no faster
n_layer = 4
n_head = 2 # heads of 64; with four of 32 the names in a story take longer to stay the same
n_embd = 128
tie_weights = True # a name that is read is a name that can be written: learned once, not twice

max_iters = 1900
eval_interval = 250
sample_interval = 500 # watch it learn to write
log_interval = 25

# short stories on a laptop without a GPU: from raw text to a model that writes stories in a few minutes
dataset = 'tinystories'

# a story has about 200 tokens, so a context of 256 holds a whole one
block_size = 256
batch_size = 8 # on a CPU a larger batch does not raise the throughput, so many small updates are better
n_layer = 4
n_head = 2 # head_dim 64; with four heads of 32 it takes longer until a name stays the same in a story
n_embd = 128
tie_weights = True # a name learned as input is then known as output too

max_iters = 2400
fit_minutes = 4.5 # fewer updates on a slow machine
epochs = 10.0 # what ends the run on a small text of your own (--input=FILE); the stories last 2.0
eval_interval = 250
sample_interval = 500 # shows how the stories improve
log_interval = 25

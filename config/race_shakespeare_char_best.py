# a race with nanoGPT, whose README's run on a CPU takes 76 seconds to 1.886 nats per character: the best that
# a model of any size and context reaches in that time
dataset = 'shakespeare_char'
device = 'cpu'

block_size = 256
batch_size = 16
n_layer = 4
n_head = 2
n_embd = 128 # 192 with fewer updates is as good
copying = False # as in race_shakespeare_char.py

max_iters = 600
warmup_iters = 20
learning_rate = 1e-2
muon_learning_rate = 0.04 # twice the default: so short a run wants to move fast
muon_momentum = 0.9
eval_interval = 0 # only at the end
log_interval = 50

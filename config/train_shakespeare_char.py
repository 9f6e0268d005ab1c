# tiny Shakespeare, one character at a time: nanoGPT's GPU run. On a CPU, make it small:
#   --device=cpu --block_size=64 --batch_size=12 --n_layer=4 --n_head=4 --n_embd=128 --max_iters=600
#   --dropout=0
dataset = 'shakespeare_char'

batch_size = 64
block_size = 256
n_layer = 6
n_head = 6
n_embd = 384
dropout = 0.2 # a megabyte is read many times, so it could be learned by heart

learning_rate = 6e-3 # 1e-2 at 128 wide, less with the square root of the width
max_iters = 2000
eval_interval = 250
sample_interval = 500

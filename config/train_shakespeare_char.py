# character-level tiny Shakespeare, the GPU run of nanoGPT; on a CPU, use a smaller model:
#   --device=cpu --block_size=64 --batch_size=12 --n_layer=4 --n_head=4 --n_embd=128 --max_iters=600
#   --dropout=0
dataset = 'shakespeare_char'

batch_size = 64
block_size = 256
n_layer = 6
n_head = 6
n_embd = 384
dropout = 0.2 # 1 MB of text is seen many times, so the model would overfit

learning_rate = 6e-3 # 1e-2 at n_embd=128, falling with the square root of n_embd
max_iters = 2000
eval_interval = 250
sample_interval = 500

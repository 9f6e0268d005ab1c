# tiny Shakespeare, one character at a time: a GPU run of minutes; see README for the flags that suit a CPU
dataset = 'shakespeare_char'
batch_size = 64
block_size = 256
n_layer = 6
n_head = 6
n_embd = 384
dropout = 0.2 # a megabyte is read many times
max_iters = 2000

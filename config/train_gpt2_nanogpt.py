# GPT-2 (124M) as nanoGPT trains it, to compare with: its architecture, optimizer and schedule, on eight GPUs
#   torchrun --standalone --nproc_per_node=8 train.py config/train_gpt2_nanogpt.py
dataset = 'openwebtext'
arch = 'gpt2'
n_layer = 12
n_head = 12
n_embd = 768
block_size = 1024
vocab_size = 50304 # the 50,257 of GPT-2, padded to a multiple of 64 for faster matrix products on a GPU
bias = False

batch_size = 12
gradient_accumulation_steps = 40 # 5 on each of 8 GPUs; 12 x 40 x 1024 = 491,520 tokens per update

# the schedule of nanoGPT, 300 billion tokens
max_iters = 600000
lr_decay_iters = 600000
warmup_iters = 2000
learning_rate = 6e-4
min_lr = 6e-5
schedule = 'cosine'
decay_fraction = 1.0
weight_decay = 0.1

eval_interval = 1000
eval_tokens = 2000000 # enough for three digits of the loss
log_interval = 10

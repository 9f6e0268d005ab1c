# GPT-2 (124M) from scratch, for eight GPUs:
#   torchrun --standalone --nproc_per_node=8 train.py config/train_gpt2.py
# --dataset=openwebtext is nanoGPT's data; half a million tokens in each update either way
dataset = 'fineweb_edu'
arch = 'gpt2'
n_layer = 12
n_head = 12
n_embd = 768
block_size = 1024
vocab_size = 50304 # GPT-2's 50,257 and padding up to a multiple of 64, which matrices on a GPU like
bias = False

batch_size = 12
gradient_accumulation_steps = 40 # 5 for each of 8 GPUs; 12 x 40 x 1024 = 491,520 tokens

# nanoGPT's schedule: 300 billion tokens
max_iters = 600000
lr_decay_iters = 600000
warmup_iters = 2000
learning_rate = 6e-4
min_lr = 6e-5
schedule = 'cosine'
decay_fraction = 1.0
weight_decay = 0.1

eval_interval = 1000
eval_tokens = 2000000 # enough for the third digit
log_interval = 10

# config/train_gpt2.py for one GPU with 24 GB: smaller updates, and a quarter of the tokens
dataset = 'fineweb_edu'
n_layer = 12
n_head = 6
n_embd = 768
block_size = 1024

batch_size = 32 # 16.4 GB on an H200; with less memory 16, and twice the accumulation
gradient_accumulation_steps = 4 # 131,072 tokens per update

max_iters = 5000 # 655 million tokens
learning_rate = 4e-3
warmup_iters = 100

eval_interval = 250
eval_tokens = 2000000
log_interval = 10

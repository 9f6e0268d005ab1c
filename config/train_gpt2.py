# a model of GPT-2's size (124M in blocks and head) with today's architecture and optimizer, on eight GPUs:
#   torchrun --standalone --nproc_per_node=8 train.py config/train_gpt2.py
# Records with nearly this recipe (RoPE, QK-norm, Muon, norm after the embedding, untied head) reach 3.28 nats
# per token on FineWeb after 2.4 billion tokens (https://github.com/KellerJordan/modded-nanogpt, 2024-11-03);
# GPT-2 itself has 3.29 there. FineWeb-Edu has other losses; none has been measured with this file.
dataset = 'fineweb_edu'
n_layer = 12
n_head = 6 # head_dim 128
n_embd = 768
block_size = 1024

batch_size = 32 # 16.4 GB on an H200
gradient_accumulation_steps = 16 # 2 on each of 8 GPUs; 32 x 16 x 1024 = 524,288 tokens per update

max_iters = 4800 # 2.5 billion tokens, 20 per parameter (arXiv 2203.15556)
learning_rate = 4e-3 # 1e-2 at n_embd=128, falling with the square root of n_embd
warmup_iters = 100

eval_interval = 250
eval_tokens = 2000000 # enough for three digits of the loss
log_interval = 10

# finetune OpenAI's GPT-2 on Shakespeare: a minute on a GPU; on a CPU add --init_from=gpt2, the 124M model
dataset = 'shakespeare'
init_from = 'gpt2-xl'

# 32 sequences of 1024 tokens per update; the dataset has about 300,000 tokens
batch_size = 1
gradient_accumulation_steps = 32
block_size = 1024

max_iters = 20
learning_rate = 3e-5 # pretrained weights need small updates and no warmup
warmup_iters = 0
decay_lr = False
dropout = 0.0

eval_interval = 5
log_interval = 1

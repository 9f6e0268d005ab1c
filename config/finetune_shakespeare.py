# OpenAI's GPT-2 learns to speak like Shakespeare: a minute on a GPU; on a CPU use the small --init_from=gpt2
dataset = 'shakespeare'
init_from = 'gpt2-xl'

# 32 sequences of 1024 tokens in each update; the text has about 300,000 tokens
batch_size = 1
gradient_accumulation_steps = 32
block_size = 1024

max_iters = 20
learning_rate = 3e-5 # the weights are good already: small steps, and no warm-up
warmup_iters = 0
decay_lr = False
dropout = 0.0

eval_interval = 5
log_interval = 1

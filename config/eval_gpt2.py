# validation loss of OpenAI's GPT-2 (124M), without finetuning, on the dataset of config/train_gpt2.py
dataset = 'fineweb_edu'
init_from = 'gpt2'
eval_only = True
batch_size = 8
block_size = 1024
eval_tokens = 2000000 # enough for three digits of the loss

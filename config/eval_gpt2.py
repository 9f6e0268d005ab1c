# the validation loss of OpenAI's GPT-2 (124M) as it is, on the text that config/train_gpt2.py is measured on
dataset = 'fineweb_edu'
init_from = 'gpt2'
eval_only = True
batch_size = 8
block_size = 1024
eval_tokens = 2000000 # enough for the third digit

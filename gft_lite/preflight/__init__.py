"""Checks and previews before training: nothing here loads a model.

inputs          every check of a configuration and its files → RunInputs
lengths         rows whose prompt leaves too few tokens for a response
reward_check    the reward applied to every row of a file
group_preview   rewards and advantages of the demonstrations, without self responses
token_preview   a row as the tokens that the model is trained on

Import the modules by their full path: `token_preview` needs torch, the others do not.
"""

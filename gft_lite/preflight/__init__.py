"""Checks and previews before training; no module here loads a model.

filters         the rows of one file that can be used: read, scorable, short enough
inputs          the checked inputs of a run
reward_check    a reward applied to the rows of a file
group_preview   rewards and advantages of the demonstrations
token_preview   a row as the tokens that the model is trained on

Import the modules by their full path: `token_preview` needs torch, the others do not.
"""

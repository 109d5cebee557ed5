"""The web app: one package a tab, thin views over jobs, runs, data and configuration.

app         the page and how it is served
api         the same actions for programs
app_state   the workspace and its queue, passed to every tab
queue       runs of a workspace, one at a time
workspace   the folders of the app
errors      errors as sentences
cli_client  commands whose results the page shows, each in a process of its own
theme, html colours, type and spacing; small pieces of markup
start_tab, data/, model/, train/, compare/, export/   the tabs

The process that serves the page never imports torch: what needs a model runs elsewhere.
"""

"""The web app: one file a tab, thin views over jobs, runs, data and configuration.

app       the page and how it is served
shell     what every tab is handed
theme     colours, type and spacing
said      errors as sentences
ask       the commands whose answers the page shows, each in a process that ends
follow    the events of a run, read as they are written
start_tab, data_tab, model_tab, train_tab, inspect, compare_tab, export_tab

The process that serves the page never imports torch: what needs a model runs elsewhere.
"""

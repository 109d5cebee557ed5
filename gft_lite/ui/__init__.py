"""The web app: one package a tab, thin views over jobs, runs, data and configuration.

app            the page, the ways between its tabs, and its server
request_guard  which requests are answered
api            the same actions for programs
app_state      the workspace and its queue, passed to every tab
workspace      the folders of the app; uploads: removal of leftovers
queue          runs of a workspace, one at a time; web_settings: what a browser may choose
form           fields of the page as dataclasses; handlers that return updates by component
html, theme    shared markup; colours, type and spacing; templates/ has all markup
errors         errors as sentences
cli_client     commands whose results the page shows, each in its own process
start_tab, data/, model/, train/, compare/, export/   the tabs

The process that serves the page never imports torch: everything with a model runs elsewhere.
"""

"""The Data tab: files of the workspace, their report and the preview of their rewards."""

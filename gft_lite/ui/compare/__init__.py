"""The Compare tab: base and adapters side by side, through the model process."""

"""`python -m gft_lite.model_server`."""

from gft_lite.rewards.child_process import Channel

channel = Channel()  # first, so that nothing that is imported prints into the answers

from gft_lite.model_server.loop import Loop  # noqa: E402

Loop(channel).run()

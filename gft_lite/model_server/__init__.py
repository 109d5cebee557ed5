"""The model process of the web app, which holds no model itself: answers, scores, mixes, exports.

    python -m gft_lite.model_server

A request is one line of JSON on stdin, its events are lines of JSON on stdout; what libraries print
goes to stderr. Requests are served in order, one at a time, and the process ends when its stdin
does.

    → {"id": 1, "do": "chat", "model": {"name": "tiny"}, "adapters": ["runs/a"], "prompt": "2+2?"}
    ← {"id": 1, "say": "columns", "columns": […], "remarks": […]}
    ← {"id": 1, "say": "text", "column": 1, "text": "4", "ended": true, "cut": false}
    ← {"id": 1, "say": "done"}          or "stopped", or "refused" with a sentence in "message"
    → {"id": 1, "do": "stop"}           ends request 1 early; the model stays

model_cache  the model in memory, and its fingerprint
chat         one prompt, all columns growing side by side
score        a file: figures with intervals, and what was kept of an old skill
handlers     mix, export, model card
loop         the lines in and out, and the way to stop in between
"""

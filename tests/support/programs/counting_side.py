"""A side that only counts: it reports a quarter of a second for each step."""

import json
import sys

done = 0
for line in sys.stdin:
    word, *steps = line.split()
    if word == "end":
        sys.exit("asked to end")
    if word == "go":
        done += int(steps[0])
        print(json.dumps({"seconds": int(steps[0]) / 4, "waited_s": 0.5}), flush=True)  # noqa: T201
    else:
        print(json.dumps({"mAP50": done / 100}), flush=True)  # noqa: T201

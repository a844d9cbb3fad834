"""Run in a child: the frames stage, timed from when everything is imported. Prints the seconds."""

import time

from actrec.media.clip import HEAVY_IMPORTS
from actrec.store.workers import run_each
from pipeline import frames


def main() -> None:
    # The server from which workers are forked imports torch when it is first needed: that is now.
    list(run_each(len, [""], timeout_s=300, workers=1, preload=HEAVY_IMPORTS))
    started = time.perf_counter()
    frames.main()
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main()

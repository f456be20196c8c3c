"""The picture of the page, docs/page.png: the first example, run by a server with the embedded model, in Chromium.

python docs/screenshot.py [--out FILE] [--scheme dark] [--width 400] [--height 800]
"""

import argparse
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from playwright.sync_api import sync_playwright

from assistant import __version__
from assistant.bounds import ServerOptions
from assistant.config import Settings
from assistant.server import create_app, uvicorn_config
from assistant.service import open_infiller
from assistant.worker import Worker

CHROMIUM = os.environ.get("HONE_CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync"]  # fmt: skip


@contextmanager
def serving() -> Iterator[str]:
    """A server with the embedded model on a free port, as its address."""
    options = ServerOptions(version=__version__)
    worker = Worker(lambda: open_infiller(Settings()), name="hone-tiny-python")
    worker.start()
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        app = create_app(worker, options)
        server = uvicorn.Server(uvicorn_config(app, host="127.0.0.1", port=port, uds=None, options=options))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join(10)
            worker.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "page.png")
    parser.add_argument("--scheme", choices=("light", "dark"), default="light")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--whole", action="store_true", help="the whole page, not what fits")
    parser.add_argument("--step", type=int, default=1, help="which snapshot of the diffusion run to show (1)")
    parser.add_argument("--tokens", type=int, default=16, help="most tokens of an answer (16)")
    parser.add_argument("--token", type=int, default=3, help="which of the run token by token (3)")
    args = parser.parse_args()
    logging.getLogger("hone").setLevel(logging.ERROR)
    with serving() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(
            viewport={"width": args.width, "height": args.height}, color_scheme=args.scheme, reduced_motion="reduce"
        )
        page.goto(url)
        page.fill("#tokens", str(args.tokens))
        run = "#outcome:has-text('Token by token: ')"
        for _ in range(2):  # the first one waits for the model
            page.get_by_role("button", name="Run").click()
            page.wait_for_selector(run, timeout=60_000)
            page.wait_for_timeout(300)
        for mode, at in (("diffusion", args.step), ("causal", args.token)):
            slider = page.locator(f"#{mode} [data-part=slider]")
            slider.fill(str(min(at, int(slider.get_attribute("max") or 0))))
        page.screenshot(path=args.out, full_page=args.whole)
        browser.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""What is wider than its column on the built pages of the manual, on a phone and on a desk.

`make docs`, then `python tools/widths.py [FOLDER] [CHROMIUM]`: every page is laid out in a headless
Chromium at 360 and at 1280 pixels; tables, signatures, pictures and pages that have to be scrolled
sideways are listed, and so are tables that a desk shows as cards; the exit code is their number.
Code blocks may scroll.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

WIDTHS = (360, 1280)
ROOT = Path(__file__).parents[1]
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
HARNESS = """<script type="module">
const found = [];
for (const page of PAGES) for (const width of WIDTHS) {
  const frame = document.createElement("iframe");
  frame.style.width = width + "px"; frame.style.height = "800px";
  const laidOut = new Promise(done => { frame.onload = done; });
  frame.src = page;
  document.body.append(frame);
  await laidOut;
  const body = frame.contentDocument;
  const say = (what, e) => found.push([page, width, what, e.scrollWidth, e.clientWidth,
    e.textContent.trim().replace(/\\s+/g, " ").slice(0, 60)]);
  for (const e of body.querySelectorAll(".table-wrapper, .sig, article img"))
    if (e.scrollWidth > e.clientWidth + 1) say(e.className || e.tagName, e);
  if (width > 1000)
    for (const e of body.querySelectorAll("table.stacked")) say("a table as cards", e);
  const whole = body.scrollingElement;
  if (whole.scrollWidth > whole.clientWidth + 1) say("page", whole);
  frame.remove();
}
await fetch("/found", {method: "POST", body: JSON.stringify(found)});
</script>"""


def measured(folder: Path, chromium: str) -> list[list[object]]:
    """(page, width, what, its width, the column's, first words) of all that is too wide."""
    pages = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.html"))
    harness = HARNESS.replace("PAGES", json.dumps(pages)).replace("WIDTHS", json.dumps(WIDTHS))
    answer: list[list[object]] = []
    done = threading.Event()

    class Pages(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/harness":
                return super().do_GET()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><body>" + harness.encode())

        def do_POST(self) -> None:
            answer.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()
            done.set()

        def log_message(self, *_: object) -> None:
            pass

    with (
        ThreadingHTTPServer(("127.0.0.1", 0), partial(Pages, directory=str(folder))) as server,
        tempfile.TemporaryDirectory() as profile,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/harness"
        command = [chromium, *OPTIONS, "--remote-debugging-port=0", f"--user-data-dir={profile}"]
        browser = subprocess.Popen([*command, address], stderr=subprocess.DEVNULL)
        try:
            if not done.wait(600):
                raise SystemExit("the browser did not answer within ten minutes")
        finally:
            browser.terminate()
            browser.wait()
            server.shutdown()
    return answer


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "_build" / "html"
    found = measured(folder, sys.argv[2] if len(sys.argv) > 2 else "chromium")
    for page, width, what, wide, column, words in found:
        print(f"{page} at {width}: {what} is {wide} px in a column of {column}: {words}")
    raise SystemExit(min(len(found), 99))


if __name__ == "__main__":
    main()

"""The page in a real Chromium: seen, clicked and typed at as a visitor does, while the real commands run."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from conftest import skip_or_fail
from support.dashboard_page import browser, missing, served_page, toast, toasts, told_page, visit
from support.system import System, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Locator, Page

WAIT = 90_000
FILES, MISSING = 60, 3
DEMO = ("demo", "--dashboard", "--port", "0", "--policies", "threshold,slo", "--seconds", "8")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    reason = missing()
    if reason:
        skip_or_fail(reason)
    with browser() as started:
        yield started


def serious(page: Page) -> list[str]:
    """Return what axe-core finds that shuts people out."""
    from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415 - only where a browser looks

    found: list[Any] = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {one['nodes'][0]['target']}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def fits(page: Page) -> bool:
    """Return whether nothing stands out of the window at the side."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


@pytest.mark.slow
@pytest.mark.rabbitmq
@pytest.mark.timeout(1800)
def test_an_operator_sees_asks_and_acts_on_a_real_broker(
    chromium: Browser, rabbitmq: str, tmp_path: Path
) -> None:
    app = f"page-{secrets.token_hex(4)}"
    settings = {
        "slo": "95% < 4s", "slots": 1, "upload_rate_limit": 200_000, "window": 10, "decision_interval": 1,
        "status_interval": 0.5, "max_workers": 4, "price_per_worker_hour": 0.1, "currency": "EUR",
    }  # fmt: skip
    with System(tmp_path, broker_url=rabbitmq, app_id=app, **settings) as system:
        requests = system.make_requests(FILES, size=80_000)
        with requests.open("a") as file:
            file.writelines(
                f'{{"type": "file", "uri": "file://{system.sources}/<b>{n}</b>", "key": "gone{n}"}}\n'
                for n in range(MISSING)
            )
        system.start("up")
        with served_page(system.environment, tmp_path / "dashboard.log") as served:
            address = f"{served.url}?app={app}&span=120"
            with visit(chromium, f"{address}#token={served.token}") as (page, wrong):
                system.publish(requests)
                sees_the_loop(page)
                chooses_a_decision(page)
                refused = acts(page, system)
                asks_what_if(page)
                moves_along_the_time_axis(page)
                assert serious(page) == []
                assert fits(page)
                # A browser's console names each answer that is an error, these too.
                named = [said.rpartition("/")[2] for said in wrong]
                assert "dead" in named
                assert [name for name in named if name != "dead"] == refused, wrong
            for width, scheme in ((1280, "dark"), (390, "light"), (390, "dark")):
                with visit(chromium, address, width=width, scheme=scheme) as (page, wrong):
                    page.get_by_role("heading", level=1).get_by_text(
                        re.compile("within|No upload")
                    ).wait_for()
                    page.get_by_role("button", name=re.compile(r"^Drain ")).first.wait_for()
                    assert page.get_by_role("button", name=re.compile(r"^Drain ")).first.is_disabled()
                    assert serious(page) == [], (width, scheme)
                    assert fits(page), (width, scheme)
                    assert wrong == []
            with visit(chromium, served.url) as (page, wrong):
                page.get_by_role("link", name=app).wait_for()
                page.get_by_role("searchbox", name="Search applications").fill("no such")
                page.get_by_text("No application yet").wait_for()
                page.get_by_role("searchbox", name="Search applications").fill(app[:8])
                page.get_by_role("link", name=app).click()
                page.get_by_role("region", name="Charts").wait_for()
                page.wait_for_url(re.compile(f"app={app}"))
                assert wrong == []


@pytest.fixture(params=["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    url = request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else ""
    settings = {"status_interval": 0.5, "decision_interval": 1}
    with System(tmp_path, broker_url=url, app_id=f"page-{secrets.token_hex(4)}", **settings) as made:
        yield made


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_up_serves_the_page_beside_the_loop_and_ends_with_it(chromium: Browser, system: System) -> None:
    requests = system.make_requests(12, size=20_000)
    up = system.start("up", "--dashboard", "--dashboard-port", "0")
    served = told_page(system.folder / "up.log", up)
    with visit(chromium, f"{served.url}?app={system.app_id}&span=120") as (page, wrong):
        publishes_where_a_worker_waits(system, requests)
        page.get_by_role("heading", level=1).get_by_text(re.compile(r"^100.*% within 30")).wait_for()
        # One that is kept waiting for four seconds is said not to be heard, until it is.
        page.get_by_text(re.compile("^No (monitor|scaler) is heard")).first.wait_for(state="hidden")
        finds_an_upload_by_its_dot(page, system)
        assert wrong == []
        up.send_signal(signal.SIGINT)
        assert up.wait(120) == 0, system.logs()
        page.get_by_text("reconnecting", exact=True).wait_for()
    assert not system.workers()
    assert len(system.stored()) == 12


def publishes_where_a_worker_waits(system: System, requests: Path) -> None:
    """Publish once a worker has started: how long that takes is not part of a response time then."""
    wait_until(lambda: "worker.started" in system.said(), 90, system.logs)
    system.publish(requests)


def finds_an_upload_by_its_dot(page: Page, system: System) -> None:
    """The slowest have names, which are copied for `upswell find`, by the table as by the dot itself."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    uploads = page.get_by_role("region", name="Uploads of one minute")
    wait_until(lambda: system.stored_count() == 12, 90, system.logs)
    stands_still_at_a_minute_with_uploads(uploads)
    uploads.get_by_text("The slowest, as a table").click()
    copies = uploads.get_by_role("button", name=re.compile("^Copy the id "))
    copies.first.wait_for()
    request_id = copies.first.inner_text()
    uploads.get_by_role("button", name=f"Copy the id {request_id}", exact=True).click()
    toast(page, f"Copied {request_id}")
    assert pasted(page) == request_id
    assert "stored" in system.run("find", "--app", system.app_id, request_id).stdout
    page.evaluate("navigator.clipboard.writeText('nothing')")
    dots = uploads.get_by_role("img", name=re.compile("^Uploads by response time"))
    hint = uploads.get_by_text("click to copy the id")

    def has_copied() -> bool:
        """Click on the first dot, unless a click has copied: what is above may move it away just before."""
        if pasted(page) != "nothing":
            return True
        dots.scroll_into_view_if_needed()
        box = dots.bounding_box()
        assert box is not None
        for x in range(48, int(box["width"]), 8):  # somewhere on the way there is a dot
            for y in range(8, 170, 16):
                page.mouse.move(box["x"] + x, box["y"] + y)
                if hint.is_visible():
                    page.mouse.click(box["x"] + x, box["y"] + y)
                    return False
        return False

    # Not by `wait_for_function`: it takes a promise for a yes.
    wait_until(has_copied, 180, lambda: f"{pasted(page)}: no dot tells what it is")
    assert "stored" in system.run("find", "--app", system.app_id, pasted(page)).stdout


def pasted(page: Page) -> str:
    """Return what the clipboard holds."""
    return str(page.evaluate("navigator.clipboard.readText()"))


def stands_still_at_a_minute_with_uploads(uploads: Locator) -> None:
    """Go back minute by minute: the newest one moves on, and its dots with it."""
    minute = uploads.get_by_text(re.compile(r"^\d\d:\d\d:\d\d to "))

    def shown() -> list[str]:
        return minute.inner_text().split(" to ")

    for step in ("after", *["before"] * 20):
        begin, end = shown()
        uploads.get_by_role("button", name=f"Minute {step}").click()

        def is_chosen(step: str = step, begin: str = begin, end: str = end) -> bool:
            """Whether the one chosen is shown: the newest may have moved on just before the click."""
            now_begin, now_end = shown()
            return now_end == begin if step == "before" else now_begin >= end or now_begin < begin

        wait_until(is_chosen, 60, minute.inner_text)
        if uploads.get_by_text(re.compile(r"^[1-9]\d* uploads? stored")).count():
            return
    raise AssertionError("no minute has uploads")


LATE_ANSWER = """async () => {
  const { Uploads } = await import("./page/uploads.js");
  const asked = [];
  window.fetch = (url) => new Promise((resolve) => {
    if (String(url).includes("/uploads?")) asked.push([new URL(url, location).searchParams, resolve]);
  });
  const answer = ([query, resolve]) => {
    const [begin, end] = [Number(query.get("begin")), Number(query.get("end"))];
    resolve(new Response(JSON.stringify({ begin, end, uploads: [] })));
  };
  const uploads = new Uploads("photos", { period: () => [1000, 2000] });
  const newest = uploads.load();
  uploads.move(-60);
  answer(asked[1]);
  await new Promise((done) => setTimeout(done, 200));
  answer(asked[0]);
  await newest;
  return uploads.told.begin;
}"""
"""The minute before the newest is chosen, and the answer about the newest comes last."""


def test_a_late_answer_does_not_take_the_place_of_the_minute_that_was_chosen(
    chromium: Browser, system: System
) -> None:
    with (
        served_page(system.environment, system.folder / "dashboard.log") as served,
        visit(chromium, served.url) as (page, _),
    ):
        assert page.evaluate(LATE_ANSWER) == 1880


GIVEN_UP = """async () => {
  const { get } = await import("./page/api.js");
  const body = new ReadableStream({ start: (given) => given.error(new Error("given up")) });
  window.fetch = async () => new Response(body);
  return get("x").then(() => "an answer", () => "an error");
}"""


def test_an_answer_that_is_given_up_while_it_comes_is_none(chromium: Browser, system: System) -> None:
    with (
        served_page(system.environment, system.folder / "dashboard.log") as served,
        visit(chromium, served.url) as (page, _),
    ):
        assert page.evaluate(GIVEN_UP) == "an error"


STAYS_OPEN = """async () => {
  const { DecisionPanel } = await import("./page/decision.js");
  window.fetch = async (url) => Response.json({
    id: Number(String(url).split("/").pop()),
    at: 0, headline: "", steps: [], rejected: [], signals: { stale: [] },
  });
  const panel = new DecisionPanel("photos", () => {}), seen = [];
  for (const id of [1, 2]) {
    await panel.show({ id });
    const saw = panel.body.querySelector("details");
    seen.push(saw.open);
    saw.open = true;
  }
  return seen;
}"""


def test_what_a_decision_saw_stays_open_from_one_to_the_next(chromium: Browser, system: System) -> None:
    with (
        served_page(system.environment, system.folder / "dashboard.log") as served,
        visit(chromium, served.url) as (page, _),
    ):
        assert page.evaluate(STAYS_OPEN) == [False, True]


OBJECTIVES = """async () => {
  const { percent, wanted } = await import("./page/format.js");
  return [0.5, 0.95, 0.995, 0.999, 0.9999].map(wanted).concat([0.29, 0.57].map((share) => percent(share, 0)));
}"""


def test_an_objective_is_shown_as_it_was_set(chromium: Browser, system: System) -> None:
    """A share that was reached is rounded down; one that is asked for is not rounded at all."""
    with (
        served_page(system.environment, system.folder / "dashboard.log") as served,
        visit(chromium, served.url) as (page, _),
    ):
        assert page.evaluate(OBJECTIVES) == ["50%", "95%", "99.5%", "99.9%", "99.99%", "29%", "57%"]


def test_where_looking_needs_the_token_a_wrong_one_is_not_the_end(chromium: Browser, system: System) -> None:
    log = system.folder / "dashboard.log"
    with served_page(system.environment, log, "--host", "0.0.0.0") as served:
        address = re.sub(r"//[^:]+:", "//127.0.0.1:", served.url)
        with visit(chromium, address) as (page, _):
            page.get_by_role("dialog").get_by_label("Token").fill("another-of-sixteen-letters")
            page.get_by_role("dialog").get_by_role("button", name="Unlock").click()
            toast(page, "This is not the token.")
            page.get_by_text("reconnecting", exact=True).wait_for()
            page.get_by_role("button", name=re.compile("^Unlock: ")).click()
            page.get_by_role("dialog").get_by_label("Token").fill(served.token)
            page.get_by_role("dialog").get_by_role("button", name="Unlock").click()
            page.get_by_text("live", exact=True).wait_for()


GAP_SECONDS = 32.0
"""Longer than what the page takes for a monitor that is merely late: 25 s."""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_page_goes_on_when_its_monitor_is_restarted_and_shows_the_gap(
    chromium: Browser, system: System
) -> None:
    system.start("scaler")
    monitor = system.start("monitor")
    with (
        served_page(system.environment, system.folder / "dashboard.log") as served,
        visit(chromium, f"{served.url}?app={system.app_id}&span=600") as (page, wrong),
    ):
        publishes_where_a_worker_waits(system, system.make_requests(6, size=20_000))
        page.get_by_role("heading", level=1).get_by_text(re.compile(r"^100.*% within 30")).wait_for()
        # A monitor that has noted no interval yet leaves no gap.
        workers = page.get_by_role("figure").filter(has=page.get_by_role("heading", name="Workers"))
        workers.get_by_text("As a table").click()
        rows = workers.get_by_role("rowheader")
        rows.first.wait_for()
        killed_at = time.time()
        monitor.kill()
        monitor.wait()
        page.get_by_text("No monitor is heard").wait_for()
        page.get_by_text(re.compile("^The last decision is .* old")).wait_for()
        page.wait_for_timeout(1000 * max(0.0, GAP_SECONDS - (time.time() - killed_at)))
        stood = rows.last.inner_text()
        begun_at = time.time()
        system.start("monitor")
        page.get_by_text("No monitor is heard").wait_for(state="hidden")
        page.get_by_text("live", exact=True).wait_for()
        # The page follows the new monitor without a reload.
        wait_until(lambda: rows.last.inner_text() != stood, 90, system.logs)
        gaps: list[tuple[float, float]] = page.evaluate(
            DRAWN_GAPS, [system.app_id, killed_at - 60, begun_at + 120]
        )
        assert len(gaps) == 1, gaps
        ((begin, end),) = gaps
        # Where nothing happens a row comes each 20 s, and one that was held up before the kill noted none.
        assert -35 < begin - killed_at < 15, (begin - killed_at, end - begun_at)
        assert end >= begun_at - 1, (begin - killed_at, end - begun_at)
        assert wrong == []


DRAWN_GAPS = """async ([app, begin, end]) => {
  const { Series } = await import("./page/series.js");
  const series = new Series();
  series.replace(await (await fetch(`api/apps/${app}/chart?begin=${begin}&end=${end}`)).json());
  const { at, busy } = series.drawn(), gaps = [];
  at.forEach((_, place) => { if (busy[place] === null) gaps.push([at[place - 1], at[place + 1]]); });
  return gaps;
}"""
"""Where the page's charts break: what is drawn of a period, by the page's own code."""


def sees_the_loop(page: Page) -> None:
    page.get_by_role("heading", level=1).get_by_text(re.compile(r"% within 4 s")).wait_for()
    page.get_by_text("live", exact=True).wait_for()
    for tile, words in (
        ("Response time, p95", "error budget"),
        ("Arrivals", "stored"),
        ("Queue", "in flight"),
        ("Workers", "desired"),
        ("Cost", "EUR"),
    ):
        page.get_by_role("group", name=tile, exact=True).get_by_text(re.compile(words)).first.wait_for()
    for chart in ("Response time", "Arrivals", "Queue", "Workers"):
        page.get_by_role("img", name=re.compile(f"^{chart}")).wait_for()
    workers = page.get_by_role("figure").filter(has=page.get_by_role("heading", name="Workers"))
    workers.get_by_text("As a table").click()
    workers.get_by_role("columnheader", name="demand").wait_for()
    workers.get_by_role("row").nth(1).wait_for()
    page.get_by_role("region", name="Workers").get_by_role("cell", name=re.compile("ready")).first.wait_for()
    page.get_by_role("region", name="Uploads of one minute").get_by_text(
        re.compile("stored")
    ).first.wait_for()


def chooses_a_decision(page: Page) -> None:
    spot = page.get_by_role("group", name="Decisions, on the time axis").get_by_role("button").last
    spot.wait_for()
    spot.click()
    why = page.get_by_role("region", name="Decision")
    why.get_by_role("heading", name="Steps").wait_for()
    why.get_by_text(re.compile(r"scale (out|in) \d+ → \d+|hold \d+")).first.wait_for()
    page.wait_for_url(re.compile("decision="))
    why.get_by_role("button", name="Decision before").click()
    why.get_by_role("button", name="Decision after").click()
    why.get_by_role("heading", name="Steps").wait_for()
    why.get_by_text("What it saw").click()
    why.get_by_text("arriving").wait_for()


SILENT = "the broker (does|did) not answer"
"""What a toast says of one that is held up for three seconds."""


def does(page: Page, click: Callable[[], None], wanted: str) -> int:
    """Click until a toast says what was wanted; return how often the broker was silent instead."""
    deadline, refused = time.monotonic() + 180, 0
    while True:
        seen = len(toasts(page))
        click()
        if re.search(wanted, said := toast(page, f"{wanted}|{SILENT}", after=seen)):
            return refused
        assert time.monotonic() < deadline, said
        refused += 1
        page.wait_for_timeout(1000)  # a toast lies over what is to be clicked


def acts(page: Page, system: System) -> list[str]:
    """Retry, purge and drain; return what was refused, in order."""
    dead = page.get_by_role("region", name="Dead letters")
    dead.get_by_text(f"{MISSING} uploads").wait_for(timeout=WAIT)
    dead.get_by_text(re.compile("does not exist")).first.wait_for()
    # A look that fails says so, and is made again.
    busy = {"error": "the broker is busy"}
    page.route("**/dead", lambda route: route.fulfill(status=409, json=busy))
    refused = ["retry"] * does(
        page, dead.get_by_role("button", name=re.compile("^Retry:")).first.click, "published again"
    )
    dead.get_by_text("uploads: the broker is busy").wait_for()
    page.unroute("**/dead")
    dead.get_by_text("the broker is busy").wait_for(state="hidden")
    # The page may not have shown yet that there was one less: the broker knows when it is dead again.
    wait_until(lambda: system.dead_count() == MISSING, 90, system.logs)
    dead.get_by_text(f"{MISSING} uploads").wait_for(timeout=WAIT)
    dead.get_by_role("button", name=re.compile("^Purge:")).first.click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()

    def purge() -> None:
        dead.get_by_role("button", name=re.compile("^Purge:")).first.click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()

    refused += ["purge"] * does(page, purge, f"{MISSING} dead uploads deleted")
    assert system.dead_count() == 0
    worker, not_drained = drains_one(page)
    wait_until(lambda: worker not in system.workers().values(), 90, lambda: str(system.workers()))
    return refused + ["drain"] * not_drained


def drains_one(page: Page) -> tuple[str, int]:
    """Drain a worker; return its id, and how often none was.

    The scaler had taken it away meanwhile, or the broker was silent. A button that is disabled sends nothing:
    its worker drains already, or the page has not yet heard of it after its click.
    """
    deadline, refused = time.monotonic() + 180, 0
    while True:
        first = page.get_by_role("button", name=re.compile(r"^Drain "), disabled=False).first
        seen = len(toasts(page))
        label: str = first.evaluate(CLICK_IF_ENABLED)
        if not label:
            continue
        worker = label.removeprefix("Drain ")
        answers = (
            rf"{worker} finishes what it has in hand|{worker} drains already|no worker {worker}|{SILENT}"
        )
        if "finishes" in (said := toast(page, answers, after=seen)):
            return worker, refused
        assert time.monotonic() < deadline, said
        refused += 1


CLICK_IF_ENABLED = "button => button.disabled ? '' : (button.click(), button.getAttribute('aria-label'))"


def asks_what_if(page: Page) -> None:
    what_if = page.get_by_role("region", name="What if")
    what_if.get_by_label("Share in time, %").fill("much")
    what_if.get_by_role("button", name="Replay").click()
    what_if.get_by_text("must be a number").wait_for()
    what_if.get_by_label("Share in time, %").fill("90")
    what_if.get_by_label("Most workers").fill("2")
    what_if.get_by_label("Cost against target").check()
    what_if.get_by_role("button", name="Replay").click()
    # It is answered by a process that lets all others go first, within ten minutes.
    what_if.get_by_text(re.compile(r"slo at 90% < 4s: .* instead of")).wait_for(timeout=600_000)
    what_if.get_by_role("img", name="Cost against target").wait_for()
    what_if.get_by_role("button", name="Clear").click()


def moves_along_the_time_axis(page: Page) -> None:
    page.get_by_role("button", name="Pause", exact=True).click()
    page.get_by_text("paused", exact=True).wait_for()
    page.wait_for_url(re.compile("end="))
    chart = page.get_by_role("group", name=re.compile("^Response time: arrow keys"))
    chart.focus()
    before = page.url
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("+")
    page.wait_for_url(lambda url: url != before)
    page.keyboard.press("l")
    page.get_by_text("live", exact=True).wait_for()

    def is_paused() -> bool:
        """Drag over the chart, unless that has paused it: what is above may move it away just before."""
        if page.get_by_text("paused", exact=True).is_visible():
            return True
        box = chart.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 120, box["y"] + 60)
        page.mouse.down()
        page.mouse.move(box["x"] + 320, box["y"] + 60, steps=5)
        page.mouse.up()
        return False

    wait_until(is_paused, 90, lambda: page.url)
    page.get_by_role("button", name="Back to live").click()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_class_watches_two_policies_meet_the_same_burst(chromium: Browser, tmp_path: Path) -> None:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("UPSWELL_", "AMQPURL"))}
    log = tmp_path / "demo.log"
    with log.open("wb") as output:
        demo = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "upswell",
                "demo",
                "--dashboard",
                "--port",
                "0",
                "--policies",
                "threshold,slo",
                "--seconds",
                "8",
            ],
            env={**inherited, "TMPDIR": str(tmp_path)},
            stdout=output,
            stderr=output,
        )
    try:
        served = told_page(log, demo)
        with visit(chromium, served.url) as (page, wrong):
            page.get_by_role("heading", name="The same burst, side by side").wait_for()
            for policy in ("threshold", "slo"):
                side = page.get_by_role("region", name=policy, exact=True)
                side.get_by_text("worker-seconds").wait_for()
                side.get_by_role("img", name=re.compile("^Workers")).wait_for()
            caption = page.get_by_role("complementary", name="Lecture")
            # The burst lasts a few seconds, in which a busy machine may not have opened the page yet.
            since_the_burst = re.compile("Burst|scale out|Calm|The end", re.IGNORECASE)
            caption.get_by_role("heading", name=since_the_burst).wait_for(timeout=WAIT)
            caption.get_by_role("button", name="Pause the lecture").click()

            def heading() -> str:
                return caption.get_by_role("heading").inner_text()

            def steps_back(to: Callable[[str], bool]) -> bool:
                """Whether such a caption is there, if need be after a step; some have the same heading."""
                if not to(heading()):
                    caption.get_by_role("button", name="Step back").click()
                return to(heading())

            told = re.compile("Burst|scale out", re.IGNORECASE)
            wait_until(lambda: steps_back(lambda text: told.search(text) is not None), 90, log.read_text)
            stood = heading()
            wait_until(lambda: steps_back(lambda text: text != stood), 90, log.read_text)
            caption.get_by_role("button", name="Back to live").click()
            # After the burst it waits two minutes for the last upload and half a one for the workers.
            caption.get_by_role("heading", name="The end").wait_for(timeout=3 * WAIT)
            assert serious(page) == []
            assert wrong == []
        wait_until(lambda: "the page stays" in log.read_text(), 90, log.read_text)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(90) == 0, log.read_text()
        assert "have the SHA-256 of their source" in log.read_text()
    finally:
        demo.kill()
        demo.wait()

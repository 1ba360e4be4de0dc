"""A report as a page: one file without scripts, fonts or requests; light or dark, wide or narrow.

Whatever comes from a message is escaped, and the page forbids itself to load anything.
"""

from __future__ import annotations

import time
from html import escape
from typing import TYPE_CHECKING

from upswell.cli.look.report import day_of, facts, headline, hour_of, share
from upswell.cli.text import number
from upswell.safe import safe

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upswell.analysis.period_totals import PeriodTotals
    from upswell.cli.look.report import AppReport, ReasonSum

_HELD = {True: "held", False: "missed", None: "none"}
_WORDS = {True: "held", False: "missed", None: "no uploads"}

_STYLE = """
:root { color-scheme: light dark; --ground: #fbfbfa; --card: #ffffff; --ink: #1d2327; --soft: #5f6b73;
  --line: #e2e5e7; --held: #2f8f5b; --held-soft: #cfe9da; --missed: #c22f2f; --none: #eceeef;
  --bar: #5b86b8; }
@media (prefers-color-scheme: dark) { :root { --ground: #14181b; --card: #1c2226; --ink: #e7ebee;
  --soft: #9aa7b0; --line: #303940; --held: #4cb87e; --held-soft: #23513a; --missed: #f0686a; --none: #272f34;
  --bar: #7ba7d9; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 1.5rem 1rem 3rem; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 60rem; margin: 0 auto; }
h1 { font-size: 1.35rem; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 0; overflow-wrap: anywhere; }
h3 { font-size: .8rem; margin: 1.6rem 0 .5rem; color: var(--soft); font-weight: 600; letter-spacing: .04em;
  text-transform: uppercase; }
p { margin: 0 0 1.25rem; color: var(--soft); }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1.1rem;
  margin-bottom: 1.25rem; }
header { display: flex; flex-wrap: wrap; gap: .4rem 1rem; align-items: baseline; }
.state { font-weight: 600; } .state.held { color: var(--held); } .state.missed { color: var(--missed); }
.state.none { color: var(--soft); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: 1rem 0 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.budget { height: .6rem; border-radius: 99px; background: var(--none); margin-top: 1rem; overflow: hidden; }
.budget i { display: block; height: 100%; background: var(--held); }
.budget.missed i { background: var(--missed); }
.map { display: grid; grid-template-columns: 3.4rem repeat(24, minmax(0, 1fr)); gap: 2px; font-size: .7rem;
  color: var(--soft); align-items: center; }
.map b { font-weight: 400; white-space: nowrap; }
.map i { aspect-ratio: 1; max-height: 1.7rem; width: 100%; border-radius: 3px; background: var(--none);
  font-style: normal; display: grid; place-items: center; color: #fff; font-weight: 700; line-height: 1; }
.map i.held { background: var(--held); } .map i.quiet { background: var(--held-soft); }
.map i.missed { background: var(--missed); }
.map i.blank { background: none; border: 1px dashed var(--line); }
.key { margin: .6rem 0 0; font-size: .8rem; }
.key i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin: 0 .3em 0 .9em; }
.key i:first-child { margin-left: 0; }
.key .held { background: var(--held); } .key .quiet { background: var(--held-soft); }
.key .missed { background: var(--missed); } .key .blank { border: 1px dashed var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: right; font-weight: 600; color: var(--soft); font-size: .8rem; }
td { text-align: right; border-top: 1px solid var(--line); }
th, td { padding: .3rem .9rem .3rem 0; white-space: nowrap; }
th:first-child, td:first-child, .why th, .why td { text-align: left; }
th:last-child, td:last-child { padding-right: 0; }
.why td { vertical-align: top; } .why td.n, .why th.n { text-align: right; }
.why td:last-child { white-space: normal; overflow-wrap: anywhere; width: 100%; }
.bad { color: var(--missed); font-weight: 600; }
td .bar { display: inline-block; height: .55em; background: var(--bar); border-radius: 2px;
  margin-right: .5em; }
@media (max-width: 32rem) { body { padding: 1rem .6rem; } section { padding: .9rem; }
  td .bar { display: none; }
  th, td { padding-right: .45rem; font-size: .8rem; } .day :is(th, td):nth-child(7) { display: none; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .4rem; } }
footer { color: var(--soft); font-size: .8rem; }
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Upswell report</title>
<style>{style}</style>
</head>
<body><main>
<h1>Upswell report</h1>
<p>{period}</p>
{sections}
<footer>Uploads that are still waiting are not in it. Hours and days are those of {zone}.</footer>
</main></body>
</html>"""


def page(reports: list[AppReport]) -> str:
    """Return the page of these reports."""
    first = reports[0]
    return _PAGE.format(
        style=_STYLE,
        period=f"{hour_of(first.begin)} to {hour_of(first.end)}",
        sections="\n".join(map(_section, reports)),
        zone=escape(time.strftime("%Z", time.localtime(first.end))),
    )


def _section(report: AppReport) -> str:
    total = report.total
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts(report))
    parts = [
        _heading(report),
        _budget(total),
        f"<dl>{rows}</dl>",
        "<h3>By hour</h3>",
        _map(report),
        "<h3>By day</h3>",
        _days(report),
    ]
    for title, reasons in (("Failures", report.failures), ("Decisions", report.decisions)):
        if reasons:
            parts += [f"<h3>{title} by reason</h3>", _reasons(reasons)]
    return f"<section>{''.join(parts)}</section>"


def _heading(report: AppReport) -> str:
    state = f'<span class="state {_HELD[report.total.held]}">{escape(headline(report))}</span>'
    return f"<header><h2>{escape(report.app_id)}</h2>{state}</header>"


def _budget(total: PeriodTotals) -> str:
    """Return a bar of the error budget that is left."""
    if total.budget_left is None:
        return ""
    left = min(1.0, max(0.0, total.budget_left))
    kind = "missed" if total.budget_left < 0 else "held"
    shown = 100 if kind == "missed" else round(100 * left)
    words = "error budget overdrawn" if kind == "missed" else f"{left:.0%} of the error budget left"
    return f'<div class="budget {kind}" role="img" aria-label="{words}"><i style="width:{shown}%"></i></div>'


def _map(report: AppReport) -> str:
    """Return a grid of days and hours; what an hour was stands in a sign and in its title, too."""
    cells: dict[str, dict[int, PeriodTotals]] = {}
    for hour in report.hours:
        local = time.localtime(hour.begin)
        cells.setdefault(time.strftime("%a %d", local), {})[local.tm_hour] = hour
    heads = "".join(f"<span>{hour if hour % 6 == 0 else ''}</span>" for hour in range(24))
    rows = "".join(
        f"<b>{escape(day)}</b>{''.join(_cell(hours.get(hour)) for hour in range(24))}"
        for day, hours in cells.items()
    )
    key = (
        '<p class="key"><i class="held"></i>held <i class="missed"></i>missed (!) '
        '<i class="quiet"></i>no uploads <i class="blank"></i>not recorded</p>'
    )
    return f'<div class="map"><b></b>{heads}{rows}</div>{key}'


def _cell(hour: PeriodTotals | None) -> str:
    if hour is None:
        return '<i class="blank" title="not recorded"></i>'
    words = f"{hour_of(hour.begin)}: {_WORDS[hour.held]}"
    if hour.held is not None:
        words += f", {share(hour.attainment)} of {number(hour.ended)} in time"
    words += f", at most {number(hour.peak_workers)} workers"
    kind = "quiet" if hour.held is None else _HELD[hour.held]
    return f'<i class="{kind}" title="{escape(words)}">{"!" if hour.held is False else ""}</i>'


def _days(report: AppReport) -> str:
    most = max(day.ended for day in report.days) or 1
    rows = [
        (
            day_of(day.begin),
            f'<span class="{"bad" if day.held is False else ""}">{_WORDS[day.held]}</span>',
            share(day.attainment),
            f'<span class="bar" style="width:{4 * day.ended / most:.2f}em"></span>{number(day.ended)}',
            number(day.late),
            f'<span class="{"bad" if day.dead else ""}">{number(day.dead)}</span>',
            number(day.failed),
            escape(report.cost(day)),
            number(day.peak_workers),
        )
        for day in report.days
    ]
    heads = ("day", "target", "in time", "uploads", "late", "dead", "failed attempts", "cost", "peak")
    return _table(heads, rows)


def _reasons(reasons: list[ReasonSum]) -> str:
    most = sorted(reasons, key=lambda one: -one.count)
    rows = "".join(
        f'<tr><td>{escape(one.what)}</td><td class="n">{number(one.count)}</td>'
        f"<td>{escape(safe(one.reason))}</td></tr>"
        for one in most
    )
    head = '<tr><th>what</th><th class="n">count</th><th>why</th></tr>'
    return f'<table class="why">{head}{rows}</table>'


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table class="day"><tr>{head}</tr>{body}</table></div>'

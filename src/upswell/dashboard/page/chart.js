// One chart: a canvas by uPlot, its legend with the values under the cursor, a sentence, and a table.

import { color, h, say, svg } from "./dom.js";
import { NONE, clock } from "./format.js";

const GUTTER = 48;
const FAMILY = "-apple-system, 'Segoe UI', Inter, Roboto, 'Noto Sans', 'Liberation Sans', sans-serif";
export const FONT = `11px ${FAMILY}`;

function mark(kind, name) {
  const shape = kind === "area" ? svg("rect", { width: 12, height: 9, rx: 2 }) : svg("line", { x1: 0, x2: 14, y1: 5, y2: 5, "stroke-width": 2.5 });
  const drawn = svg("svg", { viewBox: "0 0 14 10", "aria-hidden": "true" }, shape);
  const paint = () => {
    if (kind === "area") shape.style.fill = color(name);
    else { shape.style.stroke = color(name); shape.style.strokeDasharray = kind === "dash" ? "4 3" : "none"; }
  };
  paint();
  return [drawn, paint];
}

export class Chart {
  /**
   * title, height; keys: [{label, color, kind: line|dash|area, value: (row index) => text}];
   * series: uPlot's, with `tint` instead of stroke and fill; draw: hooks; table: {heads, row}.
   */
  constructor(options, hooks) {
    this.options = options;
    this.hooks = hooks;
    this.paints = [];
    this.values = [];
    const keys = options.keys.map((key) => {
      const [drawn, paint] = mark(key.kind, key.color);
      const value = h("b", {}, "");
      this.paints.push(paint);
      this.values.push(value);
      return h("span", {}, drawn, key.label, key.value ? value : null);
    });
    this.sentence = h("p", { class: "say" });
    this.body = h("tbody");
    const table = h("table", {}, h("caption", { class: "sr" }, options.title), h("thead", {}, h("tr", {}, ...options.table.heads.map((head) => h("th", { scope: "col" }, head)))), this.body);
    this.details = h("details", { ontoggle: () => this.fillTable() }, h("summary", {}, "As a table"), h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `${options.title}, table` }, table));
    this.plot = h("div", { class: "plot" });
    this.canvas = h("div", { role: "img", "aria-label": options.title });
    this.plot.append(this.canvas);
    this.element = h("figure", { class: "chart" }, h("figcaption", {}, h("h3", {}, options.title), h("div", { class: "keys" }, ...keys)), this.plot, h("div", { class: "foot" }, this.sentence, this.details));
  }

  make(width, data) {
    this.uplot?.destroy();
    this.paints.forEach((paint) => paint());
    const quiet = color("quiet"), grid = color("grid");
    const axis = { stroke: quiet, font: FONT, grid: { stroke: grid, width: 1 }, ticks: { show: false } };
    const { height, series, bottom, range } = this.options;
    this.uplot = new uPlot({
      width, height: height + (bottom ? 24 : 0), padding: [8, 10, bottom ? 0 : 8, 0],
      legend: { show: false },
      cursor: { sync: { key: "time", scales: ["x", null], setSeries: false }, y: false, points: { show: false }, drag: { x: true, y: false, setScale: false, dist: 6 } },
      select: { show: true },
      scales: { x: { time: true, auto: false, range: () => this.hooks.period() }, y: { range } },
      axes: [
        { ...axis, size: bottom ? 24 : 0, show: true, values: bottom ? (_, splits) => splits.map((at) => this.hooks.tick(at)) : () => [], space: 80, gap: 5 },
        { ...axis, size: GUTTER, gap: 6, space: height < 100 ? 20 : 28, values: (_, splits) => splits.map((value) => this.options.unit(value)) },
      ],
      series: [{}, ...series.map((one) => ({ ...one, show: true, stroke: one.line ? color(one.line) : undefined, fill: one.tint ? color(one.tint) : undefined, width: one.width ?? 1.5, dash: one.dash, points: { show: false } }))],
      hooks: {
        drawClear: [(plot) => this.options.behind?.(plot)],
        draw: [(plot) => { this.options.over?.(plot); this.hooks.draw(plot); }],
        setSelect: [(plot) => {
          if (plot.select.width < 8) return;
          const begin = plot.posToVal(plot.select.left, "x"), end = plot.posToVal(plot.select.left + plot.select.width, "x");
          plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
          this.hooks.zoom(begin, end);
        }],
        setCursor: [(plot) => this.tell(plot.cursor.idx)],
      },
    }, data, this.canvas);
  }

  draw(data) {
    this.data = data;
    const width = Math.floor(this.plot.clientWidth);
    if (width < 40) return;
    if (!this.uplot) this.make(width, data);
    else {
      if (width !== this.uplot.width) this.uplot.setSize({ width, height: this.uplot.height });
      this.uplot.setData(data, false);
      const [min, max] = this.hooks.period();
      this.uplot.setScale("x", { min, max });
    }
    if (this.uplot.cursor.left < 0 || this.uplot.cursor.left === undefined) this.tell(null);
    this.fillTable();
  }

  repaint() { if (this.uplot) { const data = this.data; this.make(this.uplot.width, data); } }

  /** Show the values under the cursor, else the newest. */
  tell(place) {
    const at = this.data?.[0] ?? [];
    const shown = place ?? at.length - 1;
    this.options.keys.forEach((key, number) => { if (key.value) say(this.values[number], shown >= 0 ? key.value(shown) ?? NONE : NONE); });
  }

  describe(text) {
    say(this.sentence, text);
    this.canvas.setAttribute("aria-label", `${this.options.title}. ${text}`);
  }

  fillTable() {
    if (!this.details.open) return;
    const rows = this.hooks.rows();
    this.body.replaceChildren(...rows.map((row) => h("tr", {}, h("th", { scope: "row" }, clock(row.at)), ...this.options.table.row(row).map((cell) => h("td", {}, cell)))));
  }

  destroy() { this.uplot?.destroy(); this.uplot = null; }
}

/** A line across the plot, such as the objective. */
export function level(plot, value, tint, label) {
  const y = plot.valToPos(value, "y", true), { left, width, top, height } = plot.bbox;
  if (y < top || y > top + height) return;
  const context = plot.ctx, ratio = devicePixelRatio;
  context.save();
  context.strokeStyle = color(tint);
  context.lineWidth = 1.5 * ratio;
  context.setLineDash([6 * ratio, 4 * ratio]);
  context.beginPath(); context.moveTo(left, y); context.lineTo(left + width, y); context.stroke();
  context.fillStyle = color(tint);
  context.font = `600 ${11 * ratio}px ${FAMILY}`;
  context.textAlign = "right";
  context.fillText(label, left + width - 4 * ratio, y - 6 * ratio);
  context.restore();
}

export function upright(plot, at, tint) {
  const x = plot.valToPos(at, "x", true), { left, width, top, height } = plot.bbox;
  if (x < left || x > left + width) return;
  const context = plot.ctx, ratio = devicePixelRatio;
  context.save();
  context.strokeStyle = color(tint);
  context.lineWidth = 1.5 * ratio;
  context.beginPath(); context.moveTo(x, top); context.lineTo(x, top + height); context.stroke();
  context.restore();
}

// Which period is looked at: the last so many seconds, live, or one that stands still. All charts share it.

export const RANGES = [["2 min", 120], ["10 min", 600], ["30 min", 1800], ["6 h", 21600], ["24 h", 86400], ["7 d", 604800]];
const SHORTEST = 10, LONGEST = 35 * 86400;

export class View {
  constructor(span = 1800, end = null) { this.span = span; this.end = end; this.now = Date.now() / 1000; this.heard = performance.now(); }

  get live() { return this.end === null; }

  /** The server's clock counts: ours may be wrong. */
  tick(now) { this.now = now; this.heard = performance.now(); }
  get present() { return this.now + Math.min(5, (performance.now() - this.heard) / 1000); }

  period() { const end = this.end ?? this.present; return [end - this.span, end]; }

  pause() { if (this.live) this.end = this.present; }
  resume() { this.end = null; }
  show(begin, end) { this.span = Math.min(LONGEST, Math.max(SHORTEST, end - begin)); this.end = begin + this.span; }

  pan(share) {
    const [begin, end] = this.period(), by = share * this.span;
    if (end + by >= this.present) { if (!this.live) this.resume(); } else this.show(begin + by, end + by);
  }

  zoom(factor) {
    const [begin, end] = this.period(), span = Math.min(LONGEST, Math.max(SHORTEST, this.span * factor));
    if (this.live) { this.span = span; return; }
    const middle = (begin + end) / 2;
    this.show(middle - span / 2, middle + span / 2);
  }

  query() { return { span: String(Math.round(this.span)), end: this.end === null ? null : this.end.toFixed(1) }; }

  static of(query) {
    const span = Number(query.get("span")) || 1800, end = Number(query.get("end")) || null;
    return new View(Math.min(LONGEST, Math.max(SHORTEST, span)), end);
  }
}

// Requests to our own server, relative to where the page lies. The token travels in a header, and is kept for
// this tab alone; it came behind the # of the address, which no browser sends.

const KEY = "upswell-token";
let token = "";
try { token = sessionStorage.getItem(KEY) ?? ""; } catch { /* kept in memory, then */ }

export function takeTokenFromAddress() {
  const match = /(?:^#|&)token=([^&]+)/.exec(location.hash);
  if (!match) return;
  setToken(decodeURIComponent(match[1]));
  history.replaceState(null, "", location.pathname + location.search);
}

export function setToken(value) {
  token = value;
  try { value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY); } catch { /* as above */ }
}

export const hasToken = () => token !== "";

function headers(more = {}) {
  return token ? { ...more, Authorization: `Bearer ${token}` } : more;
}

export class Refused extends Error {
  constructor(status, words) { super(words); this.status = status; }
}

async function answer(response) {
  if (response.ok) return response.json();  // given up while it came: an error, as before it came, and no answer
  const told = await response.json().catch(() => ({ error: `the server answered ${response.status}` }));
  throw new Refused(response.status, told.error ?? "refused");
}

export async function get(path, query = {}, signal = undefined) {
  const known = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = new URLSearchParams(known).toString();
  return answer(await fetch(`api/${path}${text ? `?${text}` : ""}`, { headers: headers(), signal }));
}

export async function post(path, body = {}) {
  return answer(await fetch(`api/${path}`, { method: "POST", headers: headers({ "Content-Type": "application/json" }), body: JSON.stringify(body) }));
}

export const app = (name, rest = "") => `apps/${encodeURIComponent(name)}${rest}`;

/** Server-sent events over fetch, because EventSource cannot send a header. Comes back by itself. */
export class Stream {
  constructor(query, { tick, state }) {
    this.query = query; this.tick = tick; this.state = state;
    this.last = ""; this.closed = false; this.controller = null;
    this.run();
  }

  close() { this.closed = true; this.controller?.abort(); }

  async run() {
    let pause = 500;
    while (!this.closed) {
      this.controller = new AbortController();
      // A server that is gone without a word: it sends something every 15 s.
      let silence = setTimeout(() => this.controller.abort(), 40000);
      try {
        const more = this.last ? { "Last-Event-ID": this.last } : {};
        const response = await fetch(`api/events?${new URLSearchParams(this.query)}`, { headers: headers(more), signal: this.controller.signal });
        if (!response.ok) await answer(response);
        pause = 500;
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
        let text = "";
        for (;;) {
          const { value, done } = await reader.read();
          if (done) break;
          clearTimeout(silence);
          silence = setTimeout(() => this.controller.abort(), 40000);
          text += value;
          const blocks = text.split("\n\n");
          text = blocks.pop();
          for (const block of blocks) this.take(block);
        }
      } catch (error) {
        if (this.closed) return;
        if (error instanceof Refused && error.status === 401) { this.state("locked"); return; }
      } finally { clearTimeout(silence); }
      if (this.closed) return;
      this.state("lost");
      await new Promise((resolve) => setTimeout(resolve, pause));
      pause = Math.min(8000, pause * 2);
    }
  }

  take(block) {
    let data = "";
    for (const line of block.split("\n")) {
      if (line.startsWith("id: ")) this.last = line.slice(4);
      else if (line.startsWith("data: ")) data += line.slice(6);
    }
    if (!data || this.closed) return;
    this.state("live");
    this.tick(JSON.parse(data));
  }
}

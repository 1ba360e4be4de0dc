// A day in some minutes: stands between the page and its event stream, and while `lapse.wanted` is more than
// `lapse.given` the updates are ours: the newest real one, ROUND_SECONDS later each time, with other numbers and
// each minute a decision. The next is given when the page has drawn the one before.

const ROUND_SECONDS = 2;
const ROUNDS_A_DECISION = 30;

const lapse = window.lapse = { wanted: 0, given: 0 };
const fetched = window.fetch;
let decision = null;  // the newest that the page was given

window.fetch = async (address, options) => {
  const answer = await fetched(address, options);
  if (String(address).includes("/chart") && answer.ok) decision = (await answer.clone().json()).changes.at(-1);
  return String(address).startsWith("api/events") && answer.ok ? lapsing(answer) : answer;
};

function lapsing(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const encoder = new TextEncoder();
  let text = "", real = null, now = 0;
  return new Response(new ReadableStream({
    async pull(controller) {
      if (real && lapse.given < lapse.wanted) {
        await new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn)));
        now += ROUND_SECONDS;
        lapse.given += 1;
        controller.enqueue(encoder.encode(`id: ${lapse.given}\nevent: tick\ndata: ${JSON.stringify(later(real, now))}\n\n`));
        return;
      }
      const { value, done } = await reader.read();
      if (done) { controller.close(); return; }
      text += value;
      const blocks = text.split("\n\n");
      text = blocks.pop();
      for (const block of blocks) {
        const data = block.split("\n").find((line) => line.startsWith("data: "));
        const told = data ? JSON.parse(data.slice(6)) : null;
        if (told?.tail?.at.length) { real = told; now = Math.max(now, told.tail.at.at(-1)); }
      }
      controller.enqueue(encoder.encode(value));
    },
  }, { highWaterMark: 0 }), { status: 200, headers: answer.headers });
}

function later(real, now) {
  const told = structuredClone(real), newest = told.tail.at.length - 1;
  for (const [name, column] of Object.entries(told.tail)) told.tail[name] = [column[newest]];
  told.now = told.tail.at[0] = now;
  for (const name of ["arrived", "stored", "in_time", "ready", "p50", "p95"]) told.tail[name][0] = lapse.given % 97;
  const decides = decision && lapse.given % ROUNDS_A_DECISION === 0;
  told.changes = decides ? [{ ...decision, id: `lapse-${lapse.given}`, at: now }] : [];
  return told;
}

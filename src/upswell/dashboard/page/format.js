// Numbers as people read them; "–" is "not known", which is never zero.

export const NONE = "–";
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export function number(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  const size = Math.abs(value);
  if (size >= 100 || Number.isInteger(value)) return whole.format(value);
  return new Intl.NumberFormat("en", { maximumSignificantDigits: digits }).format(value);
}

export function seconds(value) {
  if (value === null || value === undefined) return NONE;
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 120) return `${number(value)} s`;
  if (value < 7200) return `${number(value / 60)} min`;
  if (value < 172800) return `${number(value / 3600)} h`;
  return `${number(value / 86400)} d`;
}

export function age(value) {
  return value === null || value === undefined ? NONE : seconds(Math.max(0, Math.round(value)));
}

export function bytes(value) {
  if (value === null || value === undefined) return NONE;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let place = 0;
  while (value >= 1000 && place < units.length - 1) { value /= 1000; place += 1; }
  return `${number(value)} ${units[place]}`;
}

export function percent(value, digits = 1) {
  if (value === null || value === undefined) return NONE;
  if (value === 1) return "100%";
  const factor = 10 ** (2 + digits);
  const cut = Math.floor(value * factor + 1e-9) / factor;  // 0.29 times 100 is a little less than 29
  return `${(cut * 100).toFixed(digits)}%`;
}

/** An objective's share, as it was set: 99.9% is not 99%. */
export const wanted = (share) => `${Number((share * 100).toPrecision(6))}%`;

export function counted(count, one, many = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : many}`;
}

export function clock(at, withSeconds = true) {
  return new Date(at * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second: withSeconds ? "2-digit" : undefined });
}

export function moment(at) {
  const day = new Date(at * 1000);
  const today = day.toDateString() === new Date().toDateString();
  return today ? clock(at) : `${day.toLocaleDateString("en-GB", { weekday: "short", day: "numeric", month: "short" })} ${clock(at)}`;
}

/** An amount of worker-hours, or its price. */
export function money(hours, cost) {
  if (hours === null || hours === undefined) return NONE;
  if (!cost.price) return `${number(hours)} h`;
  const value = hours * cost.price;
  if (value > 0 && value < 0.001) return `< 0.001 ${cost.currency}`;
  const digits = value >= 100 ? 0 : value >= 1 || value === 0 ? 2 : undefined;
  const text = digits === undefined ? number(value) : value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return `${text} ${cost.currency}`;
}

/** The cost of one upload: as many as cost a cent, where one costs less. */
export function each(hours, cost) {
  if (hours === null || hours === undefined) return NONE;
  if (!cost.price) return `${number(hours * 3600)} worker-s each`;
  const value = hours * cost.price;
  const many = value >= 0.01 ? 1 : value >= 0.00001 ? 1000 : 1000000;
  return `${(value * many).toFixed(2)} ${cost.currency} ${many === 1 ? "each" : `per ${whole.format(many)}`}`;
}

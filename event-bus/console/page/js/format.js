// Numbers and times as people read them.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });

export const count = (n) => whole.format(n);

/** "1 event", "2 events". */
export const counted = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

export function bytes(n) {
  for (const unit of ['bytes', 'kB', 'MB', 'GB']) {
    if (n < 1000) return `${unit === 'bytes' ? whole.format(n) : short.format(n)} ${unit}`;
    n /= 1000;
  }
  return `${short.format(n)} TB`;
}

/** A duration in milliseconds. */
export function duration(ms) {
  if (ms === 0) return '0 ms';
  if (ms < 0.95) return `${ms.toFixed(2)} ms`;
  if (ms < 100) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${short.format(ms / 1000)} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
  return `${short.format(ms / 3_600_000)} h`;
}

/** Events a second. */
export function rate(n) {
  if (n === 0) return '0/s';
  if (n < 10) return `${n.toFixed(1)}/s`;
  return `${whole.format(n)}/s`;
}

/** How long ago, in words that need no seconds. */
export function ago(ms) {
  if (ms < 2000) return 'now';
  if (ms < 60_000) return `${Math.round(ms / 1000)} s ago`;
  if (ms < 3_600_000) return `${Math.round(ms / 60_000)} min ago`;
  if (ms < 86_400_000) return `${Math.round(ms / 3_600_000)} h ago`;
  return `${Math.round(ms / 86_400_000)} days ago`;
}

const clockFormat = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const dayFormat = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', second: '2-digit' });

/** The time of day, to the millisecond. */
export function clock(ms) {
  return `${clockFormat.format(ms)}.${String(Math.floor(((ms % 1000) + 1000) % 1000)).padStart(3, '0')}`;
}

/** Day and time; to be read beside times of today. */
export function moment(ms) {
  return Math.abs(Date.now() - ms) < 43_200_000 ? clock(ms) : dayFormat.format(ms);
}

/** Milliseconds, with fractions, of a time that is written to the microsecond. */
export function instant(text) {
  const fraction = /\.(\d{3})(\d{1,6})/.exec(text);
  return Date.parse(text) + (fraction ? Number(`0.${fraction[2]}`) : 0);
}

/** A word of the bus, such as no_answer, as people write it. */
export const words = (name) => name.replaceAll('_', ' ');

/** What a subscriber answered: of a problem (RFC 9457) what it says to people. */
export function readable(answer) {
  const start = answer.indexOf('{');
  try {
    const { detail, title } = JSON.parse(answer.slice(start));
    return start >= 0 && (detail || title) ? answer.slice(0, start) + (detail || title) : answer;
  } catch {
    return answer;
  }
}

/** An id that is long, with its end: versions of a UUID begin alike. */
export const shortened = (id) => (id.length > 14 ? `…${id.slice(-10)}` : id);

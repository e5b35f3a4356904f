// The life of an event as a picture: what happened to it and to what it caused,
// from when to when.
//
// Pure functions. Times are milliseconds by the bus's clock.

import { readable, words } from './format.js';

/** The id of the event that one is the reaction to; '' if it is none. */
export function causeOf({ id, type }) {
  return id.endsWith(`/${type}`) ? id.slice(0, -type.length - 1) : '';
}

const forGood = ['rejected', 'bad_reply']; // outcomes after which nothing is tried again
const worthSaying = 25; // ms; a shorter wait is none

/**
 * The picture of a family of events, in the order of the log:
 * {start, end, parts: [{event, at, steps}], known}. A step is {kind, title, who,
 * from, to, result, open}; kind is disk, wait, push, dead or read, result says how a
 * push went, one that is open has not ended yet, and deadLetterOf names whose
 * dead letter the event is.
 *
 * facts is {stored(sequence), deliveries(sequence), reads(event), subscribers,
 * now}; stored gives undefined of what the bus has forgotten.
 */
export function picture(events, facts) {
  const parts = events.map((event) => part(event, events, facts));
  const steps = parts.flatMap((part) => part.steps);
  const start = Math.min(...steps.map((step) => step.from), ...parts.map((part) => part.at));
  const end = Math.max(...steps.map((step) => step.to), ...parts.map((part) => part.at));
  return { start, end, parts, known: parts.some((part) => part.steps.length > 0) };
}

function part(event, events, facts) {
  const stored = facts.stored(event.sequence);
  const steps = [];
  const deliveries = facts.deliveries(event.sequence) ?? [];
  const reads = facts.reads(event);
  // It is on disk before anybody gets it. On a busy machine whoever notes that wakes
  // later than whoever delivers.
  const at = Math.min(stored?.at ?? Date.parse(event.time), ...deliveries.map((d) => d.began), ...reads.map((r) => r.sent));
  if (stored) {
    const who = stored.reply ? 'as a reply' : by(stored.by);
    steps.push({ kind: 'disk', title: 'Arrived, and is on disk', who, from: stored.arrived, to: at });
  }
  const attempts = Map.groupBy(deliveries, (attempt) => attempt.subscriber);
  for (const [name, list] of attempts) {
    let free = at;
    for (const attempt of list) {
      if (attempt.began - free > worthSaying) steps.push({ kind: 'wait', title: `Waited for ${name}`, from: free, to: attempt.began });
      steps.push(push(attempt, event, events, facts));
      free = attempt.at;
    }
    const { outcome } = list.at(-1);
    const passed = facts.subscribers.find((s) => s.name === name)?.cursor >= event.sequence;
    if (outcome === 'delivered') continue;
    if (passed || forGood.includes(outcome)) steps.push({ kind: 'dead', title: 'Given up:', from: free, to: free, failed: true, deadLetterOf: name });
    else waits(name, free, event, facts, steps);
  }
  for (const { name } of facts.subscribers) if (!attempts.has(name)) waits(name, at, event, facts, steps);
  for (const { follower, sent, asked } of reads) {
    steps.push({
      kind: 'read', title: `Sent to ${follower.name}`, who: follower.copy || follower.address,
      from: sent, to: Math.max(sent, asked ?? sent), result: follower.name === 'query' ? 'which tells open pages' : '',
    });
  }
  const order = { disk: 0, wait: 1, push: 1, dead: 1, read: 2 };
  steps.sort((a, b) => order[a.kind] - order[b.kind] || a.from - b.from);
  return { event, at, steps };
}

/** A push that is still to come. */
function waits(name, from, event, facts, steps) {
  const subscriber = facts.subscribers.find((s) => s.name === name);
  const wanted = subscriber && (subscriber.types.length === 0 || subscriber.types.includes(event.type));
  if (!wanted || subscriber.cursor >= event.sequence || facts.now - from < 500) return;
  const why = subscriber.state === 'up' ? '' : `, which is ${subscriber.state}`;
  steps.push({ kind: 'wait', title: `Waits for ${name}${why}`, from, to: facts.now, open: true });
}

function push(attempt, event, events, facts) {
  const reply = events.find((other) => causeOf(other) === event.id && facts.stored(other.sequence)?.reply);
  const taken = attempt.outcome === 'delivered';
  const status = attempt.status || words(attempt.outcome);
  return {
    kind: 'push',
    title: `Pushed to ${attempt.subscriber}`,
    who: attempt.attempt > 1 ? `attempt ${attempt.attempt}` : '',
    from: attempt.began,
    to: attempt.at,
    failed: !taken,
    result: taken ? `${status}${reply ? `, replied with ${reply.type}` : ''}` : [status, readable(attempt.answer ?? '')].filter(Boolean).join(': '),
  };
}

const by = (client) => (client ? `from ${client.name}` : '');

/**
 * Where times are in the picture: {position(ms) from 0 to 1, breaks: [{at, ms}]}.
 * Long times in which nothing happens are drawn short, as breaks.
 */
export function scale({ start, end, parts }) {
  const busy = merged(parts.flatMap((part) => part.steps).filter((step) => step.kind !== 'wait').map(({ from, to }) => [from, to]));
  const active = busy.reduce((sum, [from, to]) => sum + to - from, 0);
  const longest = Math.max(active * 0.6, 1);
  const drawn = Math.max(active * 0.18, 0.3);
  const stops = [[start, 0]]; // [ms, how far]
  const breaks = [];
  let far = 0;
  const advance = (to, length) => {
    far += length;
    stops.push([to, far]);
  };
  const rest = (from, to) => {
    if (to - from > longest) {
      breaks.push({ far: far + drawn / 2, ms: to - from });
      advance(to, drawn);
    } else if (to > from) {
      advance(to, to - from);
    }
  };
  let at = start;
  for (const [from, to] of busy) {
    rest(at, from);
    if (to > from) advance(to, to - from);
    at = Math.max(at, to);
  }
  rest(at, end);
  const whole = far || 1;
  const position = (ms) => {
    for (let i = 1; i < stops.length; i++) {
      const [[a, fa], [b, fb]] = [stops[i - 1], stops[i]];
      if (ms <= b) return Math.max(0, (b === a ? fb : fa + ((ms - a) / (b - a)) * (fb - fa)) / whole);
    }
    return 1;
  };
  return { position, breaks: breaks.map(({ far, ms }) => ({ at: far / whole, ms })) };
}

/** Intervals that do not overlap, in order. */
function merged(intervals) {
  const list = [];
  for (const [from, to] of intervals.toSorted((a, b) => a[0] - b[0])) {
    const last = list.at(-1);
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else list.push([from, to]);
  }
  return list;
}

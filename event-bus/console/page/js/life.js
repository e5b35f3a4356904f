// The life of an event: one picture from the command to the page.

import { html, useEffect, useRef, useState } from '../vendor/preact-htm.js';
import { search } from './api.js';
import { preview } from './events.js';
import { count, duration, moment } from './format.js';
import { useModel } from './hooks.js';
import { causeOf, picture, scale } from './life-model.js';
import { tint } from './map.js';
import { link } from './route.js';

// How many events before and after an event its family is looked for in.
const near = 100_000;

/**
 * #/life/42 is of the event 42 and all it belongs to, #/life/comment/<id>?post=<id>
 * of a comment, #/life/post/<id> of a post.
 */
export function LifeView({ model, route }) {
  useModel(model);
  const family = useFamily(model, route);
  const { events, error, looking } = family;
  if (error) return html`<p class="note wrong">${error.message}</p>`;
  if (!events) return html`<p class="note" role="status">${looking || 'Looking for the event…'}</p>`;
  const life = picture(events, {
    stored: (sequence) => family.stored(sequence),
    deliveries: (sequence) => family.deliveries(sequence),
    reads: (event) => family.reads(event),
    subscribers: model.subscribers,
    now: model.now,
  });
  const { position, breaks } = scale(life);
  return html`
    <article class="life" data-start=${life.start} data-end=${life.end}>
      <p class="summary">${summary(events, life)}</p>
      ${!life.known && html`<p class="note">The bus remembers what it did with the newest events only. Of this one it has forgotten it; what is in the log is below.</p>`}
      ${life.known && html`
        <p class="axis" aria-hidden="true">
          <span>0</span>
          ${breaks.filter((gap, i) => gap.at > 0.05 && gap.at < 0.9 && gap.at - (breaks[i - 1]?.at ?? 0) > 0.08).map((gap) => html`<span class="gap" style=${{ left: `${gap.at * 100}%` }}>${duration(gap.ms)}</span>`)}
          <span>${duration(life.end - life.start)}</span>
        </p>
      `}
      ${life.parts.map((part) => html`<${Part} key=${part.event.id} part=${part} start=${life.start} position=${position} breaks=${breaks} />`)}
    </article>
  `;
}

function Part({ part: { event, at, steps }, start, position, breaks }) {
  const said = preview(event);
  return html`
    <section class="part" data-type=${event.type} data-sequence=${event.sequence} aria-label="${event.type}, event ${event.sequence}">
      <h3>
        <span class="type" data-tint=${tint(event.type)}>${event.type}</span>
        <a href=${link(['events', String(event.sequence)])}>event ${count(event.sequence)}</a>
        <span class="small">${steps.length > 0 ? `after ${duration(at - start)}` : moment(at)}</span>
      </h3>
      ${said && html`<p class="said" dir="auto">${said}</p>`}
      <ol class="steps">
        ${steps.map((step, i) => html`
          <li key=${i} class="step" data-kind=${step.kind} data-failed=${step.failed || undefined} data-open=${step.open || undefined} data-from=${step.from} data-to=${step.to}>
            <p class="title">${step.title} ${step.who && html`<span class="small">${step.who}</span>`}${step.result && html` <span class="result">${step.result}</span>`}
              ${step.deadLetterOf && html`<a href=${link(['subscribers', step.deadLetterOf])}>a dead letter of ${step.deadLetterOf}</a>`}</p>
            <p class="times"><span>+${duration(step.from - start)}</span> <b>${['read', 'dead'].includes(step.kind) && step.to === step.from ? '' : duration(step.to - step.from)}</b></p>
            <div class="track" aria-hidden="true">
              ${breaks.map((gap) => html`<i class="gap" style=${{ left: `${gap.at * 100}%` }}></i>`)}
              <i class="bar" style=${{ left: `${position(step.from) * 100}%`, width: `${(position(step.to) - position(step.from)) * 100}%` }}></i>
            </div>
          </li>
        `)}
      </ol>
    </section>
  `;
}

/** What came of it, in a sentence. */
function summary(events, { start, parts }) {
  const sentences = [];
  const first = parts[0];
  const decided = parts.find(({ event }) => event.type === 'CommentUpdated');
  if (decided) {
    sentences.push(`This comment was ${decided.event.status}, ${duration(decided.at - start)} after it arrived.`);
  } else if (first.event.type === 'CommentCreated') {
    sentences.push('This comment is not decided yet.');
  } else {
    sentences.push(`${first.event.type}${first.event.time ? ` of ${moment(Date.parse(first.event.time))}` : ''}.`);
  }
  const dead = new Set(parts.flatMap((part) => part.steps).map((step) => step.deadLetterOf).filter(Boolean));
  if (dead.size > 0) sentences.push(`It was given up for ${[...dead].join(' and ')}.`);
  const last = decided ?? parts.at(-1);
  const reads = last.steps.filter((step) => step.kind === 'read');
  if (reads.length > 0) sentences.push(`Every follower had it after ${duration(Math.max(...reads.map((step) => step.to)) - start)}.`);
  return sentences.join(' ');
}

/**
 * The events of a life, as far as they were found, and what the bus did with
 * them. What it did is kept here for as long as the picture is looked at.
 */
function useFamily(model, route) {
  const [state, setState] = useState({});
  const known = useRef(null);
  const key = `${route.path.join('/')} ${route.query.post ?? ''}`;
  useEffect(() => {
    const control = new AbortController();
    known.current = { stored: new Map(), deliveries: new Map(), reads: new Map() };
    setState({});
    const say = (looking) => setState({ looking });
    find(route, say, control.signal)
      .then((root) => follow(root, model, (events) => setState({ events }), control.signal))
      .catch((error) => control.signal.aborted || setState({ error }));
    return () => control.abort();
  }, [key]);
  const keep = (kind, sequence, value) => {
    const kept = known.current[kind];
    if (value && (value.length ?? 1) > 0) kept.set(sequence, value);
    return kept.get(sequence);
  };
  const keepReads = (sequence, reads) => {
    const kept = known.current.reads.get(sequence) ?? new Map();
    known.current.reads.set(sequence, kept);
    for (const read of reads) if (!kept.get(read.follower.key)?.asked) kept.set(read.follower.key, read);
    return [...kept.values()];
  };
  return {
    ...state,
    stored: (sequence) => keep('stored', sequence, model.stored.get(sequence)),
    deliveries: (sequence) => keep('deliveries', sequence, model.deliveries.get(sequence)),
    reads: ({ sequence, type }) => keepReads(sequence, model.readsOf(sequence, type)),
  };
}

/** The first event of the family that the address names. */
async function find({ path: [, kind, id], query }, say, signal) {
  const wanted = {
    comment: { type: 'CommentCreated', text: id, ...(query.post && { subject: query.post }) },
    post: { type: 'PostCreated', text: id },
  }[kind];
  let event = wanted ? await backwards(wanted, '', 0, say, signal) : (await search({ after: Number(kind) - 1, limit: 1 }, signal)).events[0];
  if (!event) throw new Error(wanted ? `There is no ${kind} ${id} in the log.` : `There is no event ${kind} in the log.`);
  for (let cause = causeOf(event); cause; cause = causeOf(event)) {
    const found = await backwards({ id: cause }, event.sequence, Math.max(0, event.sequence - near), say, signal);
    if (!found) break; // by a publisher that makes such ids, or too long ago
    event = found;
  }
  return event;
}

async function backwards(filter, before, after, say, signal) {
  for (;;) {
    const found = await search({ ...filter, before, after, limit: 1 }, signal);
    if (found.events.length > 0 || found.first <= after + 1) return found.events[0];
    before = found.first;
    say(`Looking for the event, back to event ${count(found.first)}…`);
  }
}

/** Shows the family of root, and goes on looking for more of it. */
async function follow(root, model, show, signal) {
  let events = [root];
  let looked = root.sequence;
  show(events);
  while (!signal.aborted && looked < root.sequence + near) {
    const found = await search({ family: root.id, after: looked, limit: 50 }, signal);
    looked = found.last;
    if (found.events.length > 0) show((events = [...events, ...found.events]));
    if (looked >= found.end) await grown(model, looked, signal);
  }
}

/** Resolves once the log has an event after a sequence. */
function grown(model, sequence, signal) {
  return new Promise((resolve, reject) => {
    const check = () => {
      if (model.log.last <= sequence) return;
      stop();
      resolve();
    };
    const stop = model.subscribe(check);
    signal.addEventListener('abort', () => {
      stop();
      reject(signal.reason);
    });
    check();
  });
}

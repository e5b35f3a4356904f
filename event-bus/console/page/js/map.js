// The map: the bus in the middle, who publishes on one side of it, who reads on
// the other. It draws itself from what the bus sees.

import { html, useEffect, useRef } from '../vendor/preact-htm.js';
import { Flow } from './flow.js';
import { bytes, count, counted, rate } from './format.js';
import { useModel } from './hooks.js';
import { link } from './route.js';
import { Spark } from './spark.js';

export function MapView({ model }) {
  useModel(model);
  if (!model.known || !model.listed) return html`<p class="small">Waiting for the event bus to say what it sees…</p>`;
  return html`<${Drawing} model=${model} /><${Latest} model=${model} />`;
}

// Drawn when all of it is known, so that nothing moves as its parts arrive.
function Drawing({ model }) {
  const map = useRef(null);
  const svg = useRef(null);
  const flow = useRef(null);
  useEffect(() => {
    flow.current = new Flow(map.current, svg.current, model);
    return () => flow.current.end();
  }, [model]);
  useEffect(() => flow.current?.layout());
  const publishers = model.publisherGroups();
  const followers = model.followerGroups();
  return html`
    <div class="map" ref=${map}>
      <svg class="lines" ref=${svg} aria-hidden="true"></svg>
      <section class="side publishers" aria-labelledby="publishers">
        <h3 id="publishers">Publish</h3>
        ${publishers.length === 0 && html`<p class="nobody">Whoever publishes an event appears here.</p>`}
        <ul>${publishers.map((group) => html`<${Publisher} key=${group.name} group=${group} now=${model.now} />`)}</ul>
      </section>
      <${Bus} model=${model} />
      <div class="side readers">
        <section class="followers" aria-labelledby="followers">
          <h3 id="followers">Follow</h3>
          ${followers.length === 0 && html`<p class="nobody">Whoever follows the log appears here.</p>`}
          <ul>${followers.map((group) => html`<${Follower} key=${group.name} group=${group} now=${model.now} />`)}</ul>
        </section>
        <section class="subscribers" aria-labelledby="pushed">
          <h3 id="pushed">Are pushed to</h3>
          ${model.subscribers.length === 0 && html`<p class="nobody">Nobody is subscribed.</p>`}
          <ul>${model.subscribers.map((s) => html`<${Subscriber} key=${s.name} subscriber=${s} push=${model.pushes.get(s.name)} model=${model} />`)}</ul>
        </section>
      </div>
    </div>
  `;
}

function Bus({ model }) {
  const { last, bytes: size, segments, free, total, failure } = model.log;
  return html`
    <section class="card bus" data-node="bus" data-state=${failure ? 'failing' : 'up'} aria-label="The event bus">
      <p class="label">Event bus</p>
      <p class="figure" data-testid="last">${count(last)}</p>
      <p class="unit">${last === 1 ? 'event' : 'events'} in the log</p>
      <${Spark} history=${model.rate.history(model.now)} />
      <p class="rate">${rate(model.rate.perSecond(model.now))}</p>
      <p class="small">${bytes(size)} on disk in ${counted(segments, 'segment')}${free > 0 && `, ${bytes(free)} free`}</p>
      ${total > 0 && html`<meter min="0" max=${total} value=${total - free} high=${total * 0.9} aria-label="How full the disk is"></meter>`}
      ${failure && html`<p class="why">It takes no more events: ${failure}</p>`}
      ${model.cluster && html`<${Cluster} model=${model} />`}
    </section>
  `;
}

/** The copies of the bus, and how many of their servers are up. */
function Cluster({ model }) {
  const { servers, error } = model.cluster;
  const up = servers.filter((s) => s.state !== 'offline').length;
  return html`
    <ul class="copies" aria-label="Copies of the event bus">
      ${model.copies().map((copy) => html`
        <li key=${copy.copy} data-copy=${copy.copy} data-state=${copy.state === 'up' ? 'up' : 'gone'}>
          <span class="who">${copy.name}</span>
          <span class="how">${copy.state === 'away' ? 'away' : copy.state !== 'up' ? copy.state : copy.lag > 0 ? `${count(copy.lag)} behind` : 'up to date'}</span>
        </li>
      `)}
    </ul>
    <p class=${error ? 'small why' : 'small'}><a href=${link(['log'])}>${error ? 'The NATS servers do not answer' : `${count(up)} of ${counted(servers.length, 'NATS server')} up`}</a></p>
  `;
}

function Publisher({ group, now }) {
  const all = group.copies.reduce((sum, copy) => sum + copy.rate.perSecond(now), 0);
  return html`
    <li class="card" data-node="publisher ${group.name}" data-side="left" data-state=${group.state} data-label=${rate(all)}>
      <p class="name">${group.name}</p>
      <${Copies} copies=${group.copies} say=${(copy) => `${count(copy.rate.total)} seen`} />
    </li>
  `;
}

function Follower({ group, now }) {
  const all = group.copies.reduce((sum, copy) => sum + copy.rate.perSecond(now), 0);
  return html`
    <li class="card" data-node="follower ${group.name}" data-side="right" data-state=${group.state} data-label=${rate(all)}>
      <p class="name">${group.name}</p>
      <${Copies} copies=${group.copies} say=${(copy) => (copy.state === 'gone' ? 'left' : copy.lag > 0 ? `${count(copy.lag)} behind` : 'up to date')} />
    </li>
  `;
}

/** Each process that goes by one name. */
function Copies({ copies, say }) {
  return html`
    <ul class="copies">
      ${copies.map((copy) => html`
        <li key=${copy.key} data-copy=${copy.key} data-state=${copy.state} data-lag=${copy.lag}>
          <span class="who">${copy.copy || copy.address || 'this machine'}</span>
          <span class="how">${say(copy)}</span>
        </li>
      `)}
    </ul>
  `;
}

export const stateTexts = {
  up: 'up',
  down: 'down: its events wait',
  failing: 'failing: it refuses everything',
  stopped: 'stopped: it asked for nothing more',
  broken: 'the log cannot be read for it',
  unowned: 'no copy of the bus delivers to it now',
};

function Subscriber({ subscriber: s, push, model }) {
  const lag = s.state === 'unowned' ? 0 : s.state === 'up' ? s.lag : Math.max(s.lag, model.log.last - s.cursor); // without an owner nobody knows
  return html`
    <li class="card" data-node="subscriber ${s.name}" data-side="right" data-state=${s.state} data-lag=${lag} data-label=${rate(push?.rate.perSecond(model.now) ?? 0)}>
      <p class="name"><a href=${link(['subscribers', s.name])}>${s.name}</a></p>
      <p class="small">${stateTexts[s.state] ?? s.state}${lag > 0 && html`, <span class="lag">${count(lag)} behind</span>`}</p>
      ${s.deadLetterCount > 0 && html`<p class="small dead">${counted(s.deadLetterCount, 'dead letter')}</p>`}
    </li>
  `;
}

/** The newest events, in a few words each. */
function Latest({ model }) {
  const newest = [...model.stored.values()].slice(-50).sort((a, b) => b.sequence - a.sequence).slice(0, 6);
  return newest.length > 0 && html`
    <section class="latest" aria-labelledby="latest">
      <h3 id="latest">${model.cluster ? 'Newest events that came to this copy' : 'Newest events'}</h3>
      <ol reversed>
        ${newest.map((event) => html`
          <li key=${event.sequence}>
            <a href=${link(['life', String(event.sequence)])}>
              <span class="sequence">${count(event.sequence)}</span>
              <span class="type" data-tint=${tint(event.type)}>${event.type}</span>
              <span class="small">${event.count > 1 ? `and ${count(event.count - 1)} more in one batch` : event.source}</span>
            </a>
          </li>
        `)}
      </ol>
    </section>
  `;
}

const tints = { PostCreated: 0, CommentCreated: 1, CommentModerated: 2, CommentUpdated: 3 };

/** The number of the colour that a type has everywhere on the page. */
export function tint(type) {
  if (type in tints) return tints[type];
  let sum = 0;
  for (const character of type) sum = (sum * 31 + character.codePointAt(0)) % 6;
  return sum;
}

// Subscribers: how each is doing, what was sent to it lately, its dead letters, and
// what one can do about them.

import { html, useEffect, useState } from '../vendor/preact-htm.js';
import { Action } from './action.js';
import * as api from './api.js';
import { counted, count, duration, moment, readable, words } from './format.js';
import { useLoaded, useModel } from './hooks.js';
import { Json } from './json.js';
import { stateTexts } from './map.js';
import { link } from './route.js';

const attemptsEvery = 2000; // ms, that the last attempts are asked for

export function SubscribersView({ model, route }) {
  useModel(model);
  const name = route.path[1];
  const one = model.subscribers.find((s) => s.name === name);
  return html`
    ${model.known && model.subscribers.length === 0 && html`<p class="note">Nobody is subscribed. SUBSCRIBERS_FILE of the event bus says who is pushed which events.</p>`}
    <ul class="cards">
      ${model.subscribers.map((s) => html`
        <li key=${s.name} class="card subscriber" data-name=${s.name} data-state=${s.state}>
          <h3><a href=${link(['subscribers', s.name])} aria-current=${s === one ? 'true' : undefined}>${s.name}</a></h3>
          <p class="state">${stateTexts[s.state] ?? s.state}</p>
          <dl class="facts">
            <div><dt>cursor</dt><dd>${s.state === 'unowned' ? 'unknown' : count(s.cursor)}</dd></div>
            <div><dt>behind</dt><dd data-testid="lag">${s.state === 'unowned' ? 'unknown' : count(s.lag)}</dd></div>
            <div class=${s.deadLetterCount > 0 ? 'dead' : ''}><dt>dead letters</dt><dd>${count(s.deadLetterCount)}</dd></div>
          </dl>
        </li>
      `)}
    </ul>
    ${name && !one && model.subscribers.length > 0 && html`<p class="note">There is no subscriber called ${name}.</p>`}
    ${one && html`<${One} key=${one.name} subscriber=${one} model=${model} />`}
  `;
}

function One({ subscriber: s, model }) {
  return html`
    <section class="one" aria-labelledby="one">
      <h3 id="one">${s.name}</h3>
      <dl class="envelope">
        <div><dt>state</dt><dd>${stateTexts[s.state] ?? s.state}</dd></div>
        ${s.lastError && html`<div><dt>last error</dt><dd>${readable(s.lastError)}</dd></div>`}
        <div><dt>pushed to</dt><dd>${s.url}</dd></div>
        <div><dt>events</dt><dd>${s.types.length > 0 ? s.types.join(', ') : 'all'}, ${s.ordered ? 'in order for each subject' : 'in no order'}</dd></div>
        ${s.owner && html`<div><dt>owner</dt><dd>${s.owner}</dd></div>`}
      </dl>
      <${Replay} subscriber=${s} model=${model} />
      <${Letters} subscriber=${s} />
      <${Attempts} name=${s.name} />
    </section>
  `;
}

function Replay({ subscriber: s, model }) {
  const [after, setAfter] = useState('');
  const from = Number(after) || 1;
  const what = () => `Everything from event ${count(from)} on that ${s.name} asked for is delivered again, in order: up to ${counted(Math.max(0, model.log.last - from + 1), 'event')}.`;
  return html`
    <div class="replay">
      <p class="field"><label for="from">Deliver again from event</label><input id="from" type="number" min="1" inputmode="numeric" value=${after} placeholder="1" onInput=${(event) => setAfter(event.target.value)} /></p>
      <${Action} key=${from} label="Deliver again"
        ask=${async () => {
          await api.replay(s.name, { after: from - 1, dryRun: true });
          return `${what()} It has had ${count(Math.max(0, s.cursor - from + 1))} of them before; it must not mind that.`;
        }}
        act=${async () => {
          const status = await api.replay(s.name, { after: from - 1 });
          return `The cursor is at event ${count(Number(status.cursor))} now: delivery goes on from there.`;
        }} />
    </div>
  `;
}

function Letters({ subscriber: s }) {
  const [reason, setReason] = useState('');
  const [after, setAfter] = useState(0);
  const [turn, setTurn] = useState(0);
  const loaded = useLoaded((signal) => (s.deadLetterCount > 0 ? api.deadLetters(s.name, { after, reason }, signal) : Promise.resolve({ letters: [] })), [s.name, s.deadLetterCount, reason, after, turn]);
  const reasons = Object.entries(s.deadLetterReasons ?? {});
  const letters = loaded.value?.letters ?? [];
  const [did, setDid] = useState('');
  const again = (text) => {
    setDid(text);
    setTurn(turn + 1);
  };
  return html`
    <section class="letters" aria-labelledby="letters">
      <h4 id="letters">Dead letters</h4>
      ${s.deadLetterCount === 0 && html`<p class="small">None. An event that ${s.name} refuses for good is kept here with its answer.</p>`}
      ${did && html`<p class="did">${did}</p>`}
      ${loaded.error && html`<p class="wrong">${loaded.error.message}</p>`}
      ${reasons.length > 0 && html`
        <ul class="reasons">
          ${reasons.map(([name, n]) => html`
            <li key=${name}>
              <span>${counted(n, 'dead letter')} because of <b>${words(name)}</b></span>
              <button type="button" class="quiet" aria-pressed=${reason === name} onClick=${() => { setReason(reason === name ? '' : name); setAfter(0); }}>Show these</button>
              <${Redeliver} subscriber=${s} label="Deliver all of these again" selection=${{ reason: name }} done=${again} />
            </li>
          `)}
        </ul>
      `}
      <ul class="list">
        ${letters.map((letter) => html`<${Letter} key=${letter.sequence} letter=${letter} subscriber=${s} done=${again} />`)}
      </ul>
      ${loaded.value?.more && html`<button type="button" class="quiet" onClick=${() => setAfter(Number(letters.at(-1).sequence))}>Later ones</button>`}
      ${after > 0 && html`<button type="button" class="quiet" onClick=${() => setAfter(0)}>From the first</button>`}
    </section>
  `;
}

function Letter({ letter, subscriber, done }) {
  const sequence = Number(letter.sequence);
  return html`
    <li class="letter" data-sequence=${sequence}>
      <p><b>Event ${count(sequence)}</b> <span class="small">given up ${moment(Date.parse(letter.time))} after ${counted(letter.attempts, 'attempt')}</span></p>
      <p class="answer">${letter.status ? `${letter.status} ` : ''}${readable(letter.answer)}</p>
      <details><summary>The event</summary><${Json} value=${letter.event} /></details>
      <p class="small"><a href=${link(['life', String(sequence)])}>Its life</a></p>
      <${Redeliver} subscriber=${subscriber} label="Deliver again" selection=${{ sequence }} done=${done} />
    </li>
  `;
}

function Redeliver({ subscriber: { name, state }, label, selection, done }) {
  let over = false; // and so what says it is gone
  const waits = state === 'up' ? '' : ` ${name} is ${state}: they wait until it takes events again.`;
  return html`
    <${Action} label=${label} done=${(text) => done(over ? text : '')}
      ask=${async () => {
        const { matched, first, last } = await api.redeliver(name, { ...selection, dryRun: true });
        const which = matched === 1 ? `event ${count(Number(first))}` : `events ${count(Number(first))} to ${count(Number(last))}`;
        return matched === 0 ? 'There is none to deliver any more.' : `${counted(matched, 'dead letter')} (${which}) will be pushed to ${name} again.${waits} What is refused again stays a dead letter.`;
      }}
      act=${async () => {
        const which = selection.sequence ? `Event ${count(selection.sequence)}: ` : '';
        const { delivered, givenUp, waiting } = await api.redeliver(name, selection);
        over = givenUp + waiting === 0;
        const text = which + [`${count(delivered)} delivered`, givenUp > 0 && `${count(givenUp)} refused again`, waiting > 0 && `${count(waiting)} still waiting`].filter(Boolean).join(', ') + '.';
        return { text, failed: givenUp > 0 };
      }} />
  `;
}

function Attempts({ name }) {
  const [turn, setTurn] = useState(0);
  const { value, error, loading } = useLoaded((signal) => api.attempts(name, signal), [name, turn]);
  useEffect(() => {
    if (loading) return undefined;
    const timer = setTimeout(() => setTurn(turn + 1), attemptsEvery);
    return () => clearTimeout(timer);
  }, [loading, turn]);
  return html`
    <section class="attempts" aria-labelledby="attempts">
      <h4 id="attempts">Last attempts</h4>
      ${error && html`<p class="wrong">${error.message}</p>`}
      ${value?.length === 0 && html`<p class="small">None since the bus was started.</p>`}
      <ul class="list">
        ${value?.map((attempt) => html`
          <li key="${attempt.began} ${attempt.sequence}" data-outcome=${attempt.outcome}>
            <details>
              <summary>
                <span class="sequence">${count(Number(attempt.sequence))}</span>
                <span class="outcome">${words(attempt.outcome)}${attempt.status ? ` ${attempt.status}` : ''}</span>
                <span class="small">${[attempt.attempt > 1 && `attempt ${attempt.attempt}`, attempt.check && 'a check', attempt.again && 'was a dead letter', duration(attempt.ms)].filter(Boolean).join(', ')}</span>
                <time class="small">${moment(Date.parse(attempt.began))}</time>
              </summary>
              <pre tabindex="0">${`${attempt.request.method} ${attempt.request.url}\n${Object.entries(attempt.request.headers).map(([header, value]) => `${header}: ${value}`).join('\n')}\n\n${attempt.request.body}${attempt.request.bytes > attempt.request.body.length ? '…' : ''}`}</pre>
              <pre tabindex="0">${`${attempt.status || 'no answer'}\n${attempt.answer}`}</pre>
            </details>
          </li>
        `)}
      </ul>
    </section>
  `;
}

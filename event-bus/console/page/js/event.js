// One event: its envelope, its JSON, where it comes from and what it caused.

import { html, useState } from '../vendor/preact-htm.js';
import { line, search } from './api.js';
import { bytes, count, duration, moment } from './format.js';
import { announce, useFocus, useLoaded, useModel } from './hooks.js';
import { Json } from './json.js';
import { causeOf } from './life-model.js';
import { tint } from './map.js';
import { link } from './route.js';

// How far from an event its cause and what it caused are looked for. They are
// most often beside it.
const near = 20_000;

export function EventDetail({ sequence, model, close }) {
  useModel(model);
  const loaded = useLoaded(async (signal) => {
    const text = await line(sequence, signal);
    return text && { text, size: new TextEncoder().encode(text).length, event: JSON.parse(text) };
  }, [sequence]);
  const heading = useFocus([]);
  const { text, size, event } = loaded.value ?? {};
  return html`
    <section class="detail" aria-labelledby="detail" onKeyDown=${(event) => event.key === 'Escape' && close()}>
      <header>
        <h3 id="detail" tabindex="-1" ref=${heading}>Event ${count(sequence)}</h3>
        <button type="button" class="quiet close" onClick=${close}>Close</button>
      </header>
      ${loaded.error && html`<p class="wrong">${loaded.error.message}</p>`}
      ${!loaded.loading && !loaded.error && !event && html`<p>There is no event ${count(sequence)} yet.</p>`}
      ${event && html`
        <p><span class="type" data-tint=${tint(event.type)}>${event.type}</span></p>
        <p class="actions"><a class="button" href=${link(['life', String(sequence)])}>See its life</a></p>
        <dl class="envelope">
          ${Object.entries(event).filter(([name]) => !['data', 'type', 'specversion'].includes(name)).map(([name, value]) => html`
            <div key=${name}><dt>${name}</dt><dd>${name === 'time' ? html`<time title=${value}>${moment(Date.parse(value))}</time>` : show(value)}</dd></div>
          `)}
          <div><dt>size</dt><dd>${bytes(size)}; on disk, events take ${bytes((model.log.bytes / Math.max(1, model.log.last)) || 0)} each</dd></div>
          <${OnDisk} stored=${model.stored.get(sequence)} />
        </dl>
        <${Relatives} event=${event} sequence=${sequence} />
        ${'data' in event && html`<h4>Data</h4><${Json} value=${event.data} />`}
        <${Raw} text=${text} />
      `}
    </section>
  `;
}

const show = (value) => (typeof value === 'string' ? value : JSON.stringify(value));

function OnDisk({ stored }) {
  return stored && html`<div><dt>took</dt><dd>${duration(stored.ms)} from its arrival to the disk</dd></div>`;
}

/** The event that caused this one, and those that it caused. */
function Relatives({ event, sequence }) {
  const cause = causeOf(event);
  const { value } = useLoaded(async (signal) => {
    const [before, after] = await Promise.all([
      cause && search({ id: cause, before: sequence, after: Math.max(0, sequence - near), limit: 1 }, signal),
      search({ family: event.id, after: sequence, before: sequence + near, limit: 20 }, signal),
    ]);
    return { cause: before?.events[0], caused: after.events.filter((other) => causeOf(other) === event.id) };
  }, [event.id]);
  return html`
    ${cause && html`<p class="relative">Caused by ${value?.cause ? html`<${Other} event=${value.cause} />` : html`<code>${cause}</code>`}</p>`}
    ${value?.caused.map((other) => html`<p key=${other.id} class="relative">Caused <${Other} event=${other} /></p>`)}
  `;
}

function Other({ event }) {
  return html`<a href=${link(['events', String(event.sequence)])}>${event.type} ${count(event.sequence)}</a>`;
}

function Raw({ text }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text).catch(() => {}); // forbidden: it can be selected
    setCopied(true);
    announce('Copied.');
  };
  return html`
    <details class="raw">
      <summary>As it is in the log</summary>
      <pre tabindex="0">${text}</pre>
      ${navigator.clipboard && html`<button type="button" class="quiet" onClick=${copy}>${copied ? 'Copied' : 'Copy'}</button>`}
    </details>
  `;
}

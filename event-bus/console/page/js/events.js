// The events: a live tail that can be held, filters, and any place in the log.

import { html, useEffect, useMemo, useRef, useState } from '../vendor/preact-htm.js';
import { BigList } from './big-list.js';
import { EventDetail } from './event.js';
import { bytes, count, counted, moment, shortened } from './format.js';
import { Filtered, Whole } from './history.js';
import { announce, useModel } from './hooks.js';
import { tint } from './map.js';
import { go } from './route.js';

const filterNames = ['type', 'subject', 'source', 'text', 'since', 'until'];

export function EventsView({ model, route }) {
  useModel(model);
  const [, draw] = useState(0);
  const [held, setHeld] = useState(false);
  const [atTop, setAtTop] = useState(true);
  const [active, setActive] = useState(-1);
  const list = useRef(null);
  const chosen = Number(route.path[1]) || 0;
  const filter = Object.fromEntries(filterNames.map((name) => [name, route.query[name] ?? '']).filter(([, value]) => value));
  const filtered = Object.keys(filter).length > 0;
  const source = useMemo(() => {
    const changed = () => draw((n) => n + 1);
    return filtered ? new Filtered(filter, changed) : new Whole(changed);
  }, [JSON.stringify(filter)]);
  useEffect(() => () => source.close(), [source]);
  useEffect(() => setActive(-1), [source]);

  const { last } = model.log;
  const atRow = active >= 0 && active <= list.current?.rows().last; // the keyboard stays at its event
  const following = !held && atTop && !atRow;
  if (!filtered && (following || source.head === 0 || source.head > last)) source.head = last;
  useEffect(() => {
    if (filtered && following) source.follow(last);
  });
  useEffect(() => { // to the event of the address, once it is known where that is
    if (!chosen || !last || !list.current) return;
    const index = source.indexOf(chosen);
    if (index < 0 || index >= source.count) return;
    setActive(index);
    list.current.show(index, { middle: true });
  }, [chosen > 0 && last > 0 && !filtered, source]);

  function toSequence(sequence) {
    const to = Math.max(1, Math.min(sequence, last));
    if (!filtered) source.head = last;
    const index = filtered ? Math.max(0, source.indexOf(to)) : source.indexOf(to);
    setActive(index);
    list.current.show(index, { middle: true });
    announce(`At event ${to}.`);
    go(['events', String(to)], filter);
  }

  function toNewest() {
    setHeld(false);
    if (!filtered) source.head = last;
    setActive(-1);
    list.current.show(0);
    setAtTop(true);
  }

  const waiting = filtered ? last - source.looked.last : last - source.head;
  const close = () => {
    go(['events'], filter);
    document.getElementById('events').focus();
  };
  return html`
    <${Tools} key=${JSON.stringify(filter)} filter=${filter} model=${model} held=${held} hold=${() => (held ? toNewest() : setHeld(true))} toSequence=${toSequence} />
    <p class="found" role="status">
      ${!filtered && counted(last, 'event')}
      ${filtered && html`<${Found} source=${source} last=${last} />`}
      ${waiting > 0 && !following && html` <button type="button" class="newer" onClick=${toNewest}>${counted(waiting, 'newer event')}</button>`}
    </p>
    <div class=${chosen ? 'events with-detail' : 'events'}>
      <${BigList} id="events" ref=${list} label="Events, the newest first" count=${source.count} version=${filtered ? 0 : source.head}
        active=${active} move=${setActive} atTop=${setAtTop}
        seen=${(first, last) => source.want(first, last)}
        open=${(i) => { setActive(i); setHeld(true); if (source.at(i)) go(['events', String(source.at(i).sequence)], filter); }}
        row=${(i) => rowOf(source, i, chosen)} />
      ${source.count === 0 && html`<${Nothing} model=${model} filtered=${filtered} searching=${source.searching} />`}
      ${chosen > 0 && html`<${EventDetail} key=${chosen} sequence=${chosen} model=${model} close=${close} />`}
    </div>
  `;
}

/** What is in the list's place when it is empty. */
function Nothing({ model, filtered, searching }) {
  if (!model.known || searching) return null;
  return html`<p class="note nothing">${filtered
    ? 'No event passes the filter. One that comes and passes shows up here by itself.'
    : html`Nothing has been published yet. The first event will show up here by itself. Try: <code class="line">curl ${location.origin}/events -H 'Content-Type: application/json' -d '{"type":"Hello"}'</code>`}</p>`;
}

function Found({ source, last }) {
  const { first, last: to } = source.looked;
  const all = first <= 1 && to >= last;
  return html`
    ${counted(source.count, 'event')} found
    ${source.error ? html`<span class="wrong">. ${source.error.message}</span>`
      : source.searching ? html`, looked through ${count(Math.max(0, to - first + 1))} of ${count(last)}…`
        : !all && html`, back to event ${count(first)}`}
  `;
}

function rowOf(source, i, chosen) {
  const event = source.at(i);
  const sequence = event?.sequence ?? (source.head ? source.head - i : 0);
  const content = event ? html`
    <span class="sequence">${count(event.sequence)}</span>
    <span class="type" data-tint=${tint(event.type)}>${event.type}</span>
    <span class="what" dir="auto">${preview(event)}</span>
    <span class="source">${event.source}</span>
    <span class="subject" title=${event.subject}>${shortened(event.subject ?? '')}</span>
    <span class="size">${bytes(event.size)}</span>
    <time class="time">${event.time && moment(Date.parse(event.time))}</time>
  ` : html`<span class="sequence">${count(sequence)}</span><span class="coming"></span>`;
  return { key: sequence, selected: sequence === chosen, content };
}

/** What an event says, in a line. */
export const preview = ({ status, preview: text }) => [status, text].filter(Boolean).join(': ');

function Tools({ filter, model, held, hold, toSequence }) {
  const [open, setOpen] = useState(Object.keys(filter).length > 0);
  const timer = useRef(0);
  const form = useRef(null);
  useEffect(() => () => clearTimeout(timer.current), []);
  const apply = () => {
    clearTimeout(timer.current);
    const values = Object.fromEntries(new FormData(form.current));
    for (const name of ['since', 'until']) if (values[name]) values[name] = new Date(values[name]).toISOString();
    go(['events'], Object.fromEntries(filterNames.map((name) => [name, (values[name] ?? '').trim()])), { replace: true });
  };
  const toGo = (event) => {
    event.preventDefault();
    const sequence = Number(new FormData(event.target).get('sequence'));
    if (sequence > 0) toSequence(sequence);
  };
  return html`
    <div class="tools">
      <button type="button" class="quiet" aria-pressed=${held} onClick=${hold}>${held ? 'Held' : 'Hold'}</button>
      <button type="button" class="quiet" aria-expanded=${open} aria-controls="filters" onClick=${() => setOpen(!open)}>Filter${Object.keys(filter).length > 0 ? ` (${Object.keys(filter).length})` : ''}</button>
      <form class="goto" onSubmit=${toGo}>
        <label for="goto">Go to</label>
        <input id="goto" name="sequence" type="number" min="1" inputmode="numeric" placeholder="sequence" required />
        <button type="submit" class="quiet">Go</button>
      </form>
    </div>
    <form id="filters" class="filters" ref=${form} hidden=${!open}
      onSubmit=${(event) => { event.preventDefault(); apply(); }}
      onChange=${apply}>
      <${Field} name="type" label="Type" value=${filter.type} list="types" long />
      <${Field} name="subject" label="Subject" value=${filter.subject} />
      <${Field} name="source" label="Source" value=${filter.source} />
      <${Field} name="text" label="Text" value=${filter.text} long />
      <${Field} name="since" label="Since" value=${local(filter.since)} type="datetime-local" />
      <${Field} name="until" label="Until" value=${local(filter.until)} type="datetime-local" />
      <datalist id="types">${[...model.types.keys()].map((type) => html`<option key=${type} value=${type} />`)}</datalist>
      ${Object.keys(filter).length > 0 && html`<button type="button" class="quiet" onClick=${() => go(['events'])}>Clear</button>`}
    </form>
  `;
}

/** An input that keeps what is typed whatever is drawn meanwhile: its value is only where it begins. */
function Field({ name, label, value = '', type = 'search', list, long }) {
  return html`<p class=${['field', type !== 'search' && 'time', long && 'long'].filter(Boolean).join(' ')}><label for="filter-${name}">${label}</label><input id="filter-${name}" name=${name} type=${type} defaultValue=${value} list=${list} step=${type === 'datetime-local' ? 1 : undefined} autocomplete="off" /></p>`;
}

/** A time as an input for it has it. */
function local(iso) {
  if (!iso) return '';
  const time = new Date(iso);
  return new Date(time - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

// What every service answers, from the description that the tests hold them to;
// what the bus itself answers can be tried here.

import { html, useState } from '../vendor/preact-htm.js';
import { description } from './api.js';
import { announce, useLoaded } from './hooks.js';
import { curl, request, services } from './openapi.js';
import { duration } from './format.js';

const here = 'event-bus'; // the only service of this page's origin
const mostRead = 64 * 1024; // of an answer, in bytes
const patience = 5000; // ms, for a stream that does not end

export function ApiView() {
  const { value, error } = useLoaded(description, []);
  const [wanted, setWanted] = useState('');
  if (error) return html`<p class="note wrong">${error.message}</p>`;
  if (!value) return html`<p class="note" role="status">Loading…</p>`;
  const fits = ({ method, path, summary }) => `${method} ${path} ${summary}`.toLowerCase().includes(wanted.toLowerCase());
  const first = ({ service }) => (service === here ? 0 : 1); // what can be tried
  const groups = services(value).map((group) => ({ ...group, operations: group.operations.filter(fits) })).filter(({ operations }) => operations.length > 0).sort((a, b) => first(a) - first(b));
  return html`
    <p class="field search"><label for="find">Find</label><input id="find" type="search" placeholder="path or word" onInput=${(event) => setWanted(event.target.value)} /></p>
    <p class="unseen" role="status">${wanted && `${groups.reduce((sum, group) => sum + group.operations.length, 0)} found`}</p>
    ${groups.map(({ service, url, operations }) => html`
      <section key=${service} class="service" aria-labelledby="service-${service}">
        <h3 id="service-${service}">${service} <code>${service === here ? location.origin : url}</code></h3>
        ${operations.map((operation) => html`<${Operation} key=${operation.id} operation=${operation} service=${service} url=${url} />`)}
      </section>
    `)}
  `;
}

function Operation({ operation, service, url }) {
  const [open, setOpen] = useState(false);
  const { method, path, summary, description, parameters, bodies, responses } = operation;
  return html`
    <details class="operation" data-operation=${operation.id} open=${open} onToggle=${(event) => setOpen(event.currentTarget.open)}>
      <summary><span class="method" data-method=${method}>${method}</span> <code>${path}</code> <span class="small"><${Words} text=${summary} /></span></summary>
      ${open && html`
        ${description && html`<p><${Words} text=${description} /></p>`}
        <${Try} operation=${operation} service=${service} url=${url} parameters=${parameters} bodies=${bodies} />
        <h4>Answers</h4>
        <dl class="responses">
          ${responses.map(({ status, description, types, example }) => html`
            <div key=${status}><dt>${status}</dt><dd><${Words} text=${description} /> <span class="small">${types.join(', ')}</span>
              ${example !== undefined && html`<pre tabindex="0">${typeof example === 'string' ? example : JSON.stringify(example, null, 2)}</pre>`}</dd></div>
          `)}
        </dl>
      `}
    </details>
  `;
}

/** Text with \`code\` in it. */
function Words({ text }) {
  return text.split('`').map((part, i) => (i % 2 ? html`<code>${part}</code>` : part));
}

function Try({ operation, service, url, parameters, bodies }) {
  const [values, setValues] = useState(() => Object.fromEntries(parameters.filter((p) => p.required).map((p) => [`${p.in} ${p.name}`, String(p.example ?? p.schema.example ?? p.schema.default ?? '')])));
  const [type, setType] = useState(bodies[0]?.type);
  const chosen = bodies.find((body) => body.type === type);
  const [texts, setTexts] = useState({});
  const [answer, setAnswer] = useState(null);
  const text = texts[type] ?? (chosen?.example === undefined ? '' : typeof chosen.example === 'string' ? chosen.example : JSON.stringify(chosen.example, null, 2));
  const local = service === here;
  const call = request(local ? location.origin : url, operation, values, chosen && { type, text });
  const send = async (event) => {
    event.preventDefault();
    setAnswer({ busy: true });
    const got = await trying(call);
    setAnswer(got);
    announce(got.status ? `Answer: ${got.status}` : got.text);
  };
  const field = operation.id.replaceAll(/[^\w-]/g, '-');
  return html`
    <form class="try" onSubmit=${send}>
      ${parameters.map((p) => html`
        <p key="${p.in} ${p.name}" class="field">
          <label for="${field}-${p.in}-${p.name}">${p.name} <span class="small">${p.in}${p.required ? ', required' : ''}</span></label>
          <input id="${field}-${p.in}-${p.name}" value=${values[`${p.in} ${p.name}`] ?? ''} required=${p.required} autocomplete="off" placeholder=${String(p.example ?? p.schema.default ?? '')}
            onInput=${(event) => setValues({ ...values, [`${p.in} ${p.name}`]: event.target.value })} />
          ${p.description && html`<span class="small"><${Words} text=${p.description} /></span>`}
        </p>
      `)}
      ${bodies.length > 0 && html`
        <p class="field">
          <label for="${field}-body">Body</label>
          ${bodies.length > 1 && html`<select aria-label="Type of the body" onChange=${(event) => setType(event.target.value)}>${bodies.map((body) => html`<option key=${body.type} value=${body.type} selected=${body.type === type}>${body.type}</option>`)}</select>`}
          <textarea id="${field}-body" rows=${Math.min(12, Math.max(4, text.split('\n').length))} spellcheck=${false} value=${text} onInput=${(event) => setTexts({ ...texts, [type]: event.target.value })}></textarea>
        </p>
      `}
      <pre class="curl" tabindex="0">${curl(call)}</pre>
      ${local ? html`<button type="submit" aria-disabled=${answer?.busy ?? false}>Send</button>` : html`<p class="small">A page may call its own origin alone: send this one from a terminal.</p>`}
      ${answer && !answer.busy && html`
        <div class="answer" data-status=${answer.status} data-failed=${answer.status >= 200 && answer.status < 400 ? undefined : true}>
          <p><b>${answer.status || 'No answer'}</b> <span class="small">${answer.took !== undefined && duration(answer.took)}</span></p>
          <pre tabindex="0">${[answer.headers, answer.text].filter(Boolean).join('\n\n')}</pre>
        </div>
      `}
    </form>
  `;
}

/** What comes of a request; of a long answer, or one that does not end, its beginning. */
async function trying({ url, options }) {
  const control = new AbortController();
  const began = performance.now();
  const timer = setTimeout(() => control.abort(), patience);
  try {
    const response = await fetch(url, { ...options, cache: 'no-store', signal: control.signal });
    const took = performance.now() - began;
    const headers = [...response.headers].map(([name, value]) => `${name}: ${value}`).join('\n');
    const text = await beginning(response.body, control.signal);
    return { status: response.status, took, headers, text: pretty(text, response.headers.get('Content-Type')) };
  } catch (error) {
    return { status: 0, text: error.message };
  } finally {
    clearTimeout(timer);
    control.abort();
  }
}

async function beginning(body, signal) {
  if (!body) return '';
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let text = '';
  let read = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return text + decoder.decode();
      text += decoder.decode(value, { stream: true });
      read += value.length;
      if (read > mostRead) return `${text}\n… (the page reads no more)`;
    }
  } catch (error) {
    if (signal.aborted) return `${text}\n… (the page waits no longer)`;
    throw error;
  }
}

function pretty(text, type) {
  if (!/\bjson\b/.test(type ?? '')) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

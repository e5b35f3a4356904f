// JSON as it is easy to read.

import { html } from '../vendor/preact-htm.js';

const token = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(?:true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const largest = 100_000; // characters that are coloured

export function Json({ value }) {
  const text = JSON.stringify(value, null, 2);
  return html`<pre class="json" tabindex="0">${text.length > largest ? text : coloured(text)}</pre>`;
}

function coloured(text) {
  const parts = [];
  let at = 0;
  for (const match of text.matchAll(token)) {
    parts.push(text.slice(at, match.index));
    const kind = match[2] ? 'name' : match[1] ? 'string' : 'value';
    parts.push(html`<span class=${kind}>${match[1] ?? match[0]}</span>`, match[2] ?? '');
    at = match.index + match[0].length;
  }
  parts.push(text.slice(at));
  return parts;
}

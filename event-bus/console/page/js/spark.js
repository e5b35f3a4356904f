// A small curve of how often something happened.

import { html } from '../vendor/preact-htm.js';

/** history is counts, the newest last. */
export function Spark({ history }) {
  const most = Math.max(1, ...history);
  const points = history.map((n, i) => `${(i / Math.max(1, history.length - 1)) * 100},${23 - (n / most) * 22}`);
  return html`
    <svg class="spark" viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true">
      <polygon points="0,24 ${points.join(' ')} 100,24" />
      <polyline points=${points.join(' ')} />
    </svg>
  `;
}

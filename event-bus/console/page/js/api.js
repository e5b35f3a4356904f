// The bus over HTTP. What goes wrong is thrown as an Error whose message can be
// shown to whoever sits in front of the page.

const patience = 30_000;

/** Events of the log: see docs of /console/events. Resolves to {events, first, last, end}. */
export async function search(filter, signal) {
  const answer = await getJSON(`/console/events?${new URLSearchParams(filter)}`, signal);
  return {
    events: answer.events.map((event) => ({ ...event, sequence: Number(event.sequence) })),
    first: Number(answer.first),
    last: Number(answer.last),
    end: Number(answer.end),
  };
}

/** The event at a sequence, as its line in the log; null if there is none yet. */
export async function line(sequence, signal) {
  const text = await (await request(`/events?after=${sequence - 1}&limit=1`, { signal, headers: { Accept: 'application/x-ndjson' } })).text();
  return text.trim() || null;
}

export const logNumbers = (signal) => getJSON('/console/log', signal);

/** Who takes part in the cluster: see docs of /console/cluster; null if the bus is alone. */
export async function cluster() {
  const answer = await getJSON('/console/cluster');
  return answer.copies.length > 0 ? { ...answer, copies: answer.copies.map((copy) => ({ ...copy, last: Number(copy.last) })) } : null;
}

export const description = (signal) => getJSON('/console/openapi.json', signal);

export async function subscribers(signal) {
  return (await getJSON('/subscribers', signal)).map((s) => ({ ...s, cursor: Number(s.cursor) }));
}

const at = (name) => `/subscribers/${encodeURIComponent(name)}`;

/** What was sent to a subscriber lately, and its answers, the newest first. */
export const attempts = (name, signal) => getJSON(`${at(name)}/attempts`, signal);

/** Dead letters with their events: {letters, more}. */
export async function deadLetters(name, { after = 0, reason = '' }, signal) {
  const parameters = new URLSearchParams({ after, limit: 50, ...(reason && { reason }) });
  const response = await request(`${at(name)}/dead-letters?${parameters}`, { signal });
  return { letters: await response.json(), more: response.headers.has('Link') };
}

/** Delivers dead letters again, or says what that would do. */
export const redeliver = (name, selection) => post(`${at(name)}/dead-letters/redeliver`, selection);

/** Delivers again what comes after a sequence, or says what that would do. */
export const replay = (name, selection) => post(`${at(name)}/replay`, selection);

async function getJSON(url, signal) {
  return (await request(url, { signal })).json();
}

async function post(url, body) {
  const response = await request(url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
  return response.json();
}

async function request(url, { signal, ...options } = {}) {
  const limit = AbortSignal.timeout(patience);
  let response;
  try {
    response = await fetch(url, { ...options, cache: 'no-store', signal: signal ? AbortSignal.any([signal, limit]) : limit });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Error('The event bus cannot be reached.');
  }
  if (response.ok) return response;
  const { detail } = (await response.json().catch(() => null)) ?? {};
  throw new Error(detail || `The event bus answered with an error (${response.status}).`);
}

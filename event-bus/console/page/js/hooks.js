// What several views need of the page's life.

import { useEffect, useRef, useState } from '../vendor/preact-htm.js';

/** Draws the component again when the model has changed. */
export function useModel(model) {
  const [, draw] = useState(0);
  useEffect(() => model.subscribe(() => draw((n) => n + 1)), [model]);
}

/**
 * What load(signal) resolves to, again whenever one of needs changes: {value,
 * error, loading}. What was there before stays until then. A load that is not
 * wanted any more is cut off.
 */
export function useLoaded(load, needs) {
  const [state, setState] = useState({ loading: true });
  useEffect(() => {
    const control = new AbortController();
    setState((before) => ({ ...before, loading: true }));
    load(control.signal).then(
      (value) => control.signal.aborted || setState({ value, loading: false }),
      (error) => control.signal.aborted || setState((before) => ({ value: before.value, error, loading: false })),
    );
    return () => control.abort();
  }, needs);
  return state;
}

/** A number that grows every ms milliseconds. */
export function useTicks(ms) {
  const [ticks, setTicks] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => document.hidden || setTicks((n) => n + 1), ms);
    return () => clearInterval(timer);
  }, [ms]);
  return ticks;
}

/** A ref for what gets the focus when it appears. */
export function useFocus(needs) {
  const ref = useRef(null);
  useEffect(() => ref.current?.focus({ preventScroll: true }), needs);
  return ref;
}

/** Says something to whoever does not see the page. */
export function announce(text) {
  document.getElementById('announcer').textContent = text;
}

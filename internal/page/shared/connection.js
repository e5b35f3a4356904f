// A page's connection: the sign that says how it is, and when to give it up.

// A browser opens six connections to a service, however many windows show the
// page: one that nobody looks at for this long gives its own back.
const unseenLimit = 60_000;

const texts = {
  connecting: 'Connecting…',
  connected: 'Live',
  offline: 'Not connected – reconnecting…',
};

/** Says how the connection is, to the eye and to a screen reader. */
export function showConnection(state) {
  const element = document.getElementById('connection');
  element.dataset.state = state;
  element.textContent = texts[state];
}

/** Calls pause when nobody has looked at the page for a minute, and seen when somebody looks again. */
export function whileSeen({ pause, seen }) {
  let unseen = 0;
  document.addEventListener('visibilitychange', () => {
    clearTimeout(unseen);
    if (document.hidden) unseen = setTimeout(pause, unseenLimit);
    else seen();
  });
}

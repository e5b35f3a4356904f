// Says something to people who hear the page rather than see it.

let timer = 0;

export function announce(text) {
  const region = document.getElementById('announcer');
  clearTimeout(timer);
  region.textContent = ''; // so that the same sentence is said again
  timer = setTimeout(() => (region.textContent = text), 50);
}

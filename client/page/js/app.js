// The page: a form for a new post, and the posts.

import { html, useEffect, useMemo, useState } from '../vendor/preact-htm.js';
import { Draft } from './draft.js';
import { LoadButton, useFocusOnNew } from './load-button.js';
import { Post } from './post.js';
import { TextForm } from './text-form.js';

/** drafts is where drafts are kept; retry tries to load again, now. */
export function App({ blog, drafts, retry }) {
  const [now, setNow] = useState(blog.now);
  const [happened, setHappened] = useState('');
  useEffect(() => {
    blog.console().then((url) => setHappened(url && `${url}/#/life`), () => {}); // the page does without
  }, [blog, now.status]);
  useEffect(() => {
    setNow(blog.now);
    return blog.subscribe(() => setNow(blog.now));
  }, [blog]);

  return html`
    <section aria-labelledby="write">
      <h2 id="write" class="unseen">Write a post</h2>
      <${PostForm} blog=${blog} drafts=${drafts} />
    </section>
    <section aria-labelledby="posts" aria-busy=${now.status === 'loading'}>
      <h2 id="posts" class="unseen">Posts</h2>
      ${now.status === 'loading' && html`<${Skeleton} />`}
      ${now.status === 'failed' && html`
        <div class="note" data-testid="failed">
          <p>The posts could not be loaded.</p>
          <p class="message error">${now.problem.message}</p>
          <button type="button" class="quiet" onClick=${retry}>Try again</button>
        </div>
      `}
      ${now.status === 'loaded' && now.posts.length === 0 && html`
        <div class="note" data-testid="empty">
          <p>Nothing here yet.</p>
          <p>Write the first post: it appears here at once, for everybody.</p>
        </div>
      `}
      <${Posts} now=${now} blog=${blog} drafts=${drafts} happened=${happened} />
    </section>
  `;
}

function PostForm({ blog, drafts }) {
  const draft = useMemo(() => new Draft('post', drafts), []);
  return html`
    <${TextForm}
      id="new-post"
      className="new-post"
      draft=${draft}
      field=${{ name: 'title', label: 'New post', placeholder: 'What is on your mind?', limit: 200, lines: false }}
      what="title"
      button="Publish"
      send=${(text, key) => blog.createPost(text, key)}
      sent=${() => 'Your post was published.'}
    />
  `;
}

function Posts({ now, blog, drafts, happened }) {
  const [list, focusingNew] = useFocusOnNew(now.posts.length);
  return html`
    <div class=${now.posts.length > 50 ? 'posts long' : 'posts'} ref=${list}>
      ${now.posts.map((post) => html`<${Post} key=${post.id} post=${post} blog=${blog} drafts=${drafts} happened=${happened} />`)}
    </div>
    ${now.next && html`<${LoadButton} label="Load older posts" load=${() => focusingNew(() => blog.loadOlder())} />`}
  `;
}

function Skeleton() {
  return html`
    <div class="skeleton" data-testid="loading">
      <p class="unseen">Loading posts…</p>
      ${[1, 2, 3].map((key) => html`<div key=${key} class="post" aria-hidden="true"><i></i><i></i><i></i></div>`)}
    </div>
  `;
}

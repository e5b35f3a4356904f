// One post with its comments.

import { Component, html, useMemo } from '../vendor/preact-htm.js';
import { Draft } from './draft.js';
import { LoadButton, useFocusOnNew } from './load-button.js';
import { hidden } from './state.js';
import { TextForm } from './text-form.js';

/** Is drawn again only when it is given something else. */
class Pure extends Component {
  shouldComponentUpdate(next) {
    return Object.keys(next).some((name) => next[name] !== this.props[name]);
  }
}

/** happened is where people see what happened to a post or a comment, '' if nobody may. */
export class Post extends Pure {
  render({ post, blog, drafts, happened }) {
    return html`
      <article class="post" data-post-id=${post.id} aria-label=${post.title} tabindex="-1">
        <h3 dir="auto">${post.title}</h3>
        ${happened && post.sequence !== null && html`<${Happened} what="post" href="${happened}/post/${encodeURIComponent(post.id)}" />`}
        ${post.count > 0 && html`<h4>${post.count === 1 ? '1 comment' : `${post.count} comments`}</h4>`}
        ${post.count > 0 && html`<${Comments} post=${post} blog=${blog} happened=${happened} />`}
        <${CommentForm} post=${post} blog=${blog} drafts=${drafts} />
      </article>
    `;
  }
}

function Happened({ what, href }) {
  return html`<a class="happened" href=${href} aria-label="What happened to this ${what}?">What happened?</a>`;
}

function Comments({ post, blog, happened }) {
  const comment = (comment) => html`
    <${Comment} key=${comment.id} comment=${comment} happened=${happened && `${happened}/comment/${encodeURIComponent(comment.id)}?post=${encodeURIComponent(post.id)}`} />
  `;
  const [list, focusingNew] = useFocusOnNew(post.prefix);
  const missing = hidden(post);
  return html`
    <ul class="comments" ref=${list}>
      ${post.comments.slice(0, post.prefix).map(comment)}
      ${missing > 0 && html`
        <li key="more" class="more">
          <${LoadButton} label="Load more comments (${missing})" load=${() => focusingNew(() => blog.loadMoreComments(post))} />
        </li>
      `}
      ${post.comments.slice(post.prefix).map(comment)}
    </ul>
  `;
}

class Comment extends Pure {
  render({ comment: { id, content, status }, happened }) {
    const decided = status === 'approved' || status === 'rejected';
    return html`
      <li class="comment" data-comment-id=${id} data-status=${status} tabindex="-1">
        ${content && status !== 'rejected' && html`<p class="content" dir="auto">${content}</p>`}
        ${!decided && html`<p class="status">${content ? 'Awaiting moderation. Only you can see this.' : 'A comment is awaiting moderation.'}</p>`}
        ${status === 'rejected' && html`<p class="status">This comment was rejected.</p>`}
        ${happened && html`<${Happened} what="comment" href=${happened} />`}
      </li>
    `;
  }
}

function CommentForm({ post, blog, drafts }) {
  const draft = useMemo(() => new Draft(`comment.${post.id}`, drafts), [post.id]);
  return html`
    <${TextForm}
      className="new-comment"
      draft=${draft}
      field=${{ name: 'content', label: `Comment on “${post.title}”`, labelUnseen: true, placeholder: 'Write a comment…', limit: 10_000, lines: true }}
      what="comment"
      button="Comment"
      send=${(text, key) => blog.createComment(post.id, text, key)}
      sent=${({ status }) => (status === 'pending' ? 'Your comment was sent and is awaiting moderation.' : `Your comment was ${status}.`)}
    />
  `;
}

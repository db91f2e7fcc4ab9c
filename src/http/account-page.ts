import { createHash } from 'node:crypto'
import type { Router } from '@koa/router'
import type { Context } from 'koa'
import { refuseBody } from './body.ts'
import { negotiate } from './content-types.ts'

const STYLE = `
body { font: 16px/1.5 system-ui, sans-serif; max-width: 32em; margin: 4em auto; padding: 0 1em; }
label { display: block; margin: 1em 0; }
input:not([type=checkbox]) { display: block; font: inherit; width: 100%; box-sizing: border-box; padding: 0.4em; }
button { font: inherit; padding: 0.4em 1.2em; }
[hidden] { display: none; }
[role=status] { font-weight: bold; }
`

// Relative, or the page would leave the base path under which it was asked for. Nothing happens by opening it: mail
// programs open every link to look at it.
const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>Your Tasktrail account</title>
<link rel="icon" href="data:,">
<style>${STYLE}</style>
</head>
<body>
<h1>Your Tasktrail account</h1>
<noscript><p>This page needs JavaScript: only with it your link stays between you and Tasktrail.</p></noscript>
<p id="says"></p>
<form id="form" hidden>
<label id="address" hidden>Email address
<input type="email" name="email" autocomplete="email" maxlength="100"></label>
<label id="password" hidden>New password, at least 8 characters
<input type="password" name="new_password" autocomplete="new-password" minlength="8" maxlength="256"></label>
<label id="show" hidden><input type="checkbox" name="show"> Show it</label>
<button></button>
</form>
<p id="outcome" role="status"></p>
<script src="link/start.js"></script>
</body>
</html>
`

// The token comes from the fragment and goes into a body: it is in no log, and no page learns it as a referrer.
const START = `'use strict'

const ACTIONS = {
  verify: {
    says: 'The button confirms that this address is that of your account.',
    button: 'Confirm the address',
    path: 'email/verify',
    done: 'The address is confirmed.',
  },
  'change-old': {
    says: 'The button confirms that your account gets another address. The new one has to confirm it too.',
    button: 'Confirm the change',
    path: 'email/verify',
    done: 'Your account has its new address.',
  },
  'change-new': {
    says: 'The button confirms that this is the new address of your account. The old one has to confirm it too.',
    button: 'Confirm the address',
    path: 'email/verify',
    done: 'Your account has its new address.',
  },
  cancel: {
    says: 'The button stops the change: your account keeps its address.',
    button: 'Stop the change',
    path: 'email/cancel',
    done: 'The change is stopped. If you did not ask for it, set a new password too.',
  },
  reset: {
    says: 'The button sets a new password and ends all sessions of your account.',
    button: 'Set the password',
    path: 'password/reset',
    field: 'password',
    done: 'The password is set. Log in with it.',
  },
  forgot: {
    says: 'Tell us the address of your account: the button has a link to set a new password mailed to it.',
    button: 'Send the link',
    path: 'password/reset-request',
    field: 'address',
    done: 'If an account has confirmed this address, a link is on its way to it.',
  },
}
const WAITING = 'Confirmed. The other address has to confirm the change too.'

const find = (id) => document.getElementById(id)
const form = find('form')
const { email, new_password, show } = form.elements

function ask() {
  const [kind, token] = location.hash.slice(1).split('.')
  const action = Object.hasOwn(ACTIONS, kind) ? ACTIONS[kind] : undefined
  const isWhole = action !== undefined && (kind === 'forgot' || Boolean(token))
  find('outcome').textContent = ''
  find('says').textContent = isWhole
    ? action.says
    : 'This link is not whole. Open it from the mail once more, with all that belongs to it.'
  form.hidden = !isWhole
  if (!isWhole) return
  for (const field of ['address', 'password']) find(field).hidden = action.field !== field
  find('show').hidden = action.field !== 'password'
  email.required = action.field === 'address'
  new_password.required = action.field === 'password'
  form.querySelector('button').textContent = action.button
  form.onsubmit = (event) => {
    event.preventDefault()
    send(action, {
      ...(kind !== 'forgot' && { token }),
      ...(action.field === 'address' && { email: email.value.trim() }),
      ...(action.field === 'password' && { new_password: new_password.value }),
    })
  }
}

async function send(action, body) {
  const button = form.querySelector('button')
  button.disabled = true
  find('outcome').textContent = 'One moment …'
  try {
    const answer = await fetch(action.path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    const text = await answer.text()
    const said = text === '' ? {} : JSON.parse(text)
    form.hidden = answer.ok
    find('outcome').textContent = answer.ok
      ? said.status === 'waiting' ? WAITING : action.done
      : [said.message, ...(said.details ?? []).map(({ message }) => message)].join(': ')
    if (answer.ok) {
      find('says').textContent = ''
      new_password.value = ''
    }
  } catch {
    find('outcome').textContent = 'Tasktrail cannot be reached. Try again in a moment.'
  }
  button.disabled = false
}

show.onchange = () => {
  new_password.type = show.checked ? 'text' : 'password'
}
addEventListener('hashchange', ask)
ask()
`

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  `style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`,
  "connect-src 'self'",
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

const HEADERS = {
  'Content-Security-Policy': POLICY,
  'Referrer-Policy': 'no-referrer',
  'X-Robots-Tag': 'noindex',
}

/** The page that links in mails lead to: it says what it is about to do, and does it when its button is pressed. */
export function accountPage(router: Router, path: string): void {
  const give = (path: string, type: string, content: string) => {
    router.get(path, async (ctx: Context) => {
      negotiate(ctx, [type])
      await refuseBody(ctx)
      ctx.set(HEADERS)
      ctx.type = type
      ctx.body = content
    })
  }
  give(path, 'text/html', PAGE)
  give(`${path}/start.js`, 'text/javascript', START)
}

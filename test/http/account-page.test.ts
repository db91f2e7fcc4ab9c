import { createHash, randomUUID } from 'node:crypto'
import { runInNewContext } from 'node:vm'
import { expect } from 'chai'
import pg from 'pg'
import { type Mailbox, openMailbox } from '../support/mailbox.ts'
import { until } from '../support/processes.ts'
import { type System, startSystem } from '../support/system.ts'

type Element = {
  hidden: boolean
  textContent: string
  value: string
  type: string
  required: boolean
  disabled: boolean
  checked: boolean
  onsubmit?: (event: object) => void
  onchange?: () => void
}

const hasId = (html: string, id: string): boolean => html.includes(` id="${id}"`)

describe('The page that links in mails lead to', () => {
  let system: System
  let mailbox: Mailbox
  let sql: pg.Client

  before(async () => {
    system = await startSystem()
    mailbox = await openMailbox(system.database)
    sql = new pg.Client(system.database.url)
    await sql.connect()
  })
  after(async () => {
    await sql.end()
    await mailbox.close()
    await system.stop()
  })

  const url = (path = '') => `${system.urls.auth}/v1/auth/link${path}`
  const text = async (path = '') => (await fetch(url(path))).text()

  /** The page in a browser that knows what its script uses of one; its requests are real. */
  const open = async (fragment: string) => {
    const html = await text()
    const element = (): Element => ({
      ...{ hidden: false, textContent: '', value: '', type: 'password' },
      ...{ required: false, disabled: false, checked: false },
    })
    const ids = ['says', 'form', 'address', 'password', 'show', 'outcome']
    for (const id of ids) expect(hasId(html, id), id).to.equal(true)
    const page = Object.fromEntries(ids.map((id) => [id, element()]))
    const [button, email, new_password, show] = [element(), element(), element(), element()]
    for (const name of ['email', 'new_password', 'show']) expect(html).to.include(` name="${name}"`)
    Object.assign(page.form as object, {
      elements: { email, new_password, show },
      querySelector: (selector: string) => (selector === 'button' ? button : null),
    })
    const requests: string[] = []
    runInNewContext(await text('/start.js'), {
      document: { getElementById: (id: string) => page[id] },
      location: { hash: fragment },
      addEventListener: () => {},
      fetch: (path: string, init: RequestInit) => {
        requests.push(`${init.method} ${path}`)
        return fetch(new URL(path, url()), init)
      },
    })
    const press = async (fields: { email?: string; password?: string } = {}) => {
      email.value = fields.email ?? ''
      new_password.value = fields.password ?? ''
      let isPrevented = false
      page.form?.onsubmit?.({ preventDefault: () => (isPrevented = true) })
      expect(isPrevented).to.equal(true)
      await until(() => !button.disabled, 'it is answered')
      return page.outcome?.textContent
    }
    const shown = () => {
      const { form, says, address, password } = page
      return {
        says: says?.textContent,
        button: form?.hidden ? null : button.textContent,
        fields: [address, password].map((field) => !field?.hidden),
      }
    }
    return { press, shown, requests, show, new_password }
  }

  const newUser = async () => {
    const username = `u${randomUUID().slice(0, 18)}`
    const email = `${username}@example.com`
    const password = 'a good long password'
    await system.call('POST', '/auth/register', { body: { username, email, password } })
    const mail = (await mailbox.arrived()).find(({ to }) => to === email)
    return { username, email, password, verify: `#verify.${mail?.links.verify}` }
  }
  const isConfirmed = async (email: string) => {
    const found = 'select email_confirmed_at is not null as is from users where email = $1'
    return (await sql.query(found, [email])).rows[0].is
  }
  const login = (username: string, password: string) =>
    system.call('POST', '/auth/login', { body: { username, password } })

  it('is for nobody else to frame, to index, to script, or to be told where it was', async () => {
    for (const path of ['', '/start.js']) {
      const { status, headers } = await fetch(url(path))
      expect(status).to.equal(200)
      expect(headers.get('referrer-policy')).to.equal('no-referrer')
      expect(headers.get('x-robots-tag')).to.equal('noindex')
      expect(headers.get('x-content-type-options')).to.equal('nosniff')
      expect(headers.get('cache-control')).to.equal('no-store')
      const policy = headers.get('content-security-policy') ?? ''
      expect(policy).to.include("default-src 'none'").and.include("script-src 'self'")
      expect(policy).to.include("frame-ancestors 'none'").and.not.include('unsafe')
    }
  })

  it('has no script of its own, and the one style that its policy allows', async () => {
    const html = await text()
    expect([...html.matchAll(/<script[^>]*>/g)].map(([tag]) => tag)).to.deep.equal([
      '<script src="link/start.js">',
    ])
    expect(html).to.not.match(/ on\w+=/)
    const [, style = ''] = /<style>(.*?)<\/style>/s.exec(html) ?? []
    const hash = createHash('sha256').update(style).digest('base64')
    const policy = (await fetch(url())).headers.get('content-security-policy')
    expect(policy).to.include(`style-src 'sha256-${hash}'`)
  })

  it('does nothing for who only opens it, such as a mail program that looks at links', async () => {
    const user = await newUser()
    const { shown, requests } = await open(user.verify)
    expect(shown()).to.deep.equal({
      says: 'The button confirms that this address is that of your account.',
      button: 'Confirm the address',
      fields: [false, false],
    })
    for (const method of ['GET', 'HEAD']) await fetch(url(user.verify), { method })
    expect(requests).to.deep.equal([])
    expect(await isConfirmed(user.email)).to.equal(false)
  })

  it('confirms an address when its button is pressed, once', async () => {
    const user = await newUser()
    const { press, requests, shown } = await open(user.verify)
    expect(await press()).to.equal('The address is confirmed.')
    expect(requests).to.deep.equal(['POST email/verify'])
    expect(shown()).to.deep.include({ says: '', button: null })
    expect(await isConfirmed(user.email)).to.equal(true)
    expect(await (await open(user.verify)).press()).to.equal(
      'This link was used, has expired, or is none; ask for a new one',
    )
  })

  it('has a forgotten password mailed a link, and sets another one', async () => {
    const user = await newUser()
    await (await open(user.verify)).press()
    const forgot = await open('#forgot')
    expect(forgot.shown()).to.deep.include({ button: 'Send the link', fields: [true, false] })
    expect(await forgot.press({ email: ` ${user.email} ` })).to.match(/a link is on its way to it/)
    const [mail] = await mailbox.arrived()
    const page = await open(`#reset.${mail?.links.reset}`)
    expect(page.shown()).to.deep.include({ button: 'Set the password', fields: [false, true] })
    expect(await page.press({ password: 'password1' })).to.equal(
      'Validation failed: New password must not be one of the most common passwords',
    )
    expect(await page.press({ password: 'another long password' })).to.match(/^The password is set/)
    expect(page.new_password.value).to.equal('')
    expect((await login(user.username, 'another long password')).status).to.equal(200)
  })

  it('shows the new password to who wants to see it', async () => {
    const { show, new_password } = await open(`#reset.${'a'.repeat(43)}`)
    show.checked = true
    show.onchange?.()
    expect(new_password.type).to.equal('text')
  })

  it('says that the other address has to confirm a change too, and stops one', async () => {
    const user = await newUser()
    await (await open(user.verify)).press()
    const { token } = (await login(user.username, user.password)).body
    await mailbox.arrived()
    const { password } = user
    const body = { email: `new-${user.email}`, password }
    await system.call('PATCH', '/auth/me', { token, body })
    const mails = await mailbox.arrived()
    const links = Object.assign({}, ...mails.map(({ links }) => links))
    const confirm = await open(`#change-new.${links['change-new']}`)
    expect(await confirm.press()).to.equal(
      'Confirmed. The other address has to confirm the change too.',
    )
    const cancel = await open(`#cancel.${links.cancel}`)
    expect(cancel.shown().says).to.equal(
      'The button stops the change: your account keeps its address.',
    )
    expect(await cancel.press()).to.match(/^The change is stopped/)
  })

  for (const fragment of ['', '#reset', '#reset.', '#constructor.x', '#.x', '#<b>.x']) {
    it(`says of ${JSON.stringify(fragment)} that the link is not whole`, async () => {
      const { shown } = await open(fragment)
      expect(shown()).to.deep.include({ button: null })
      expect(shown().says).to.match(/^This link is not whole/)
    })
  }
})

import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { SMTPServer, type SMTPServerOptions } from 'smtp-server'

export type ReceivedMail = {
  readonly from: string
  readonly to: string
  readonly headers: Readonly<Record<string, string>>
  readonly subject: string
  readonly text: string
  /** The links in it, by what they are to do. */
  readonly links: Readonly<Record<string, string>>
}

export type Smtp = {
  readonly port: number
  /** What was taken, the first one first. */
  readonly mails: ReceivedMail[]
  /** What the server says of the next recipients or mails, or does; undefined: takes them. */
  fault: Fault | undefined
  readonly close: () => Promise<void>
}

export type Fault =
  | { readonly at: 'MAIL' | 'RCPT' | 'DATA'; readonly code: number }
  | 'dies'
  | 'loses the answer'
  /** Answers, but not at once. */
  | 'is slow'

const SLOW_MS = 200

const refusal = (code: number) => Object.assign(new Error('no'), { responseCode: code })

/** A real SMTP server on loopback, in the clear unless it is told otherwise. */
export async function startSmtp(options: SMTPServerOptions = {}): Promise<Smtp> {
  const mails: ReceivedMail[] = []
  const state: { fault: Fault | undefined } = { fault: undefined }
  const faultAt = (at: string) => {
    const { fault } = state
    return typeof fault === 'object' && fault.at === at ? refusal(fault.code) : null
  }
  const sockets = new Set<Socket>()
  const cutAll = () => {
    for (const socket of sockets) socket.destroy()
  }
  const server = new SMTPServer({
    disabledCommands: options.key === undefined ? ['STARTTLS', 'AUTH'] : [],
    disableReverseLookup: true,
    logger: false,
    onMailFrom: (_address, _session, done) => done(faultAt('MAIL')),
    onRcptTo: (_address, _session, done) => done(faultAt('RCPT')),
    onData: (stream, session, done) => {
      if (state.fault === 'dies') {
        stream.resume()
        return void stream.once('data', cutAll)
      }
      buffer(stream).then((message) => {
        const fault = faultAt('DATA')
        if (fault !== null) return done(fault)
        mails.push(readMail(message.toString('latin1'), session.envelope.rcptTo[0]?.address ?? ''))
        if (state.fault === 'loses the answer') return cutAll()
        if (state.fault === 'is slow') return void setTimeout(done, SLOW_MS)
        done()
      }, done)
    },
    ...options,
  })
  server.on('error', () => {})
  const listening = server.listen(0, '127.0.0.1')
  listening.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  await once(listening, 'listening')
  return Object.defineProperties(
    {
      port: (listening.address() as AddressInfo).port,
      mails,
      close: async () => {
        const closed = new Promise<void>((resolve) => server.close(() => resolve()))
        cutAll()
        await closed
      },
    } as Smtp,
    {
      fault: {
        get: () => state.fault,
        set: (fault: Fault | undefined) => {
          state.fault = fault
        },
      },
    },
  )
}

/** A message of one part, as it comes over the wire. */
export function readMail(message: string, to: string): ReceivedMail {
  const end = message.indexOf('\r\n\r\n')
  const headers = Object.fromEntries(
    message
      .slice(0, end)
      .replace(/\r\n[ \t]+/g, ' ')
      .split('\r\n')
      .map((line) => {
        const colon = line.indexOf(':')
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
      }),
  )
  const body = message.slice(end + 4)
  const isFolded = headers['content-transfer-encoding'] === 'quoted-printable'
  const text = (isFolded ? unfolded(body) : body).replace(/\r\n/g, '\n')
  const links = Object.fromEntries(
    [...text.matchAll(/https?:\/\/\S+#(\S+?)\.(\S+)/g)].map(([, kind, token]) => [kind, token]),
  )
  const { from = '', subject = '' } = headers
  return { from, to, headers, subject, text, links }
}

const unfolded = (body: string): string =>
  Buffer.from(
    body
      .replace(/=\r\n/g, '')
      .replace(/=([0-9A-F]{2})/g, (_, code) => String.fromCharCode(Number.parseInt(code, 16))),
    'latin1',
  ).toString()

import { execFile } from 'node:child_process'
import { chmod } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

export type ServerCertificate = {
  /** Paths of PEM files: of the authority, and of what a server shows and keeps. */
  readonly authority: string
  readonly certificate: string
  readonly key: string
}

/** An authority of its own in this directory, and a certificate by it for a server on localhost. */
export async function makeServerCertificate(directory: string): Promise<ServerCertificate> {
  const [authority, certificate, key] = ['ca.pem', 'server.pem', 'server.key'].map((name) =>
    join(directory, name),
  ) as [string, string, string]
  const authorityKey = join(directory, 'ca.key')
  const made = ['req', '-x509', '-nodes', '-days', '1', '-newkey', 'ec']
  const curve = ['-pkeyopt', 'ec_paramgen_curve:prime256v1']
  await run('openssl', [
    ...[...made, ...curve, '-subj', '/CN=Test Authority'],
    ...['-keyout', authorityKey, '-out', authority],
  ])
  await run('openssl', [
    ...[...made, ...curve, '-subj', '/CN=localhost'],
    ...['-addext', 'subjectAltName=DNS:localhost', '-addext', 'basicConstraints=CA:FALSE'],
    ...['-CA', authority, '-CAkey', authorityKey, '-keyout', key, '-out', certificate],
  ])
  await chmod(key, 0o600)
  return { authority, certificate, key }
}

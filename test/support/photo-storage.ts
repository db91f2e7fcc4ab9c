import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { signedObjects } from '../../src/http/signed-objects.ts'
import { localStorage } from '../../src/infra/local/objects/local-storage.ts'

export type PhotoStorage = Awaited<ReturnType<typeof startPhotoStorage>>

/** Object storage in a directory of its own, served on a free port, and the settings of services that use it. */
export async function startPhotoStorage() {
  const directory = await mkdtemp(join(tmpdir(), 'tasktrail-photos-'))
  const secret = 'a-secret-of-at-least-32-characters'
  const server = createServer((request, response) =>
    signedObjects('/objects', storage)(request, response),
  ).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/objects`
  const storage = localStorage({ directory, url, secret })
  return {
    storage,
    env: { PHOTOS_DIR: directory, PHOTOS_URL: url, PHOTOS_KEY: secret },
    stop: async () => {
      server.closeAllConnections()
      server.close()
      await rm(directory, { recursive: true })
    },
  }
}

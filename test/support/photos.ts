import { expect } from 'chai'
import type { UploadForm } from '../../src/app/ports/object-storage.ts'
import { photograph } from './images.ts'
import { post, sha256 } from './object-storage-contract.ts'
import type { Client } from './system.ts'

/** A JPEG; with another `tint` it has other bytes. */
export const jpeg = (tint = 0): Promise<Buffer> =>
  photograph(40 + tint, 30)
    .jpeg()
    .toBuffer()

export const promiseOf = (bytes: Buffer, name = 'A kitchen.jpg') => ({
  name,
  content_type: 'image/jpeg',
  size: bytes.length,
  sha256: sha256(bytes),
})

type User = { readonly token: string }

/** A form for these bytes, and the photo's id. */
export async function offered(
  call: Client,
  { token }: User,
  task: number,
  promised: object,
): Promise<{ readonly photo_id: string; readonly upload: UploadForm }> {
  const answer = await call('POST', `/tasks/${task}/photos`, { token, body: promised })
  expect(answer.status, JSON.stringify(answer.body)).to.equal(201)
  return answer.body
}

export const complete = (call: Client, { token }: User, task: number, photo_id: string) =>
  call('POST', `/tasks/${task}/photos/${photo_id}/complete`, { token, body: {} })

/** Uploads a photo and completes it; returns its id. */
export async function givenPhoto(
  call: Client,
  user: User,
  task: number,
  bytes: Buffer,
  name?: string,
): Promise<string> {
  const { photo_id, upload } = await offered(call, user, task, promiseOf(bytes, name))
  expect(await post(upload, bytes)).to.equal(204)
  const { status, body } = await complete(call, user, task, photo_id)
  expect(status, JSON.stringify(body)).to.equal(200)
  return photo_id
}

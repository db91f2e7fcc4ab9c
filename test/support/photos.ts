import { expect } from 'chai'
import type pg from 'pg'
import type { UploadForm } from '../../src/app/ports/object-storage.ts'
import type { Photo } from '../../src/domain/task/photos.ts'
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

/** A photo whose bytes somebody has looked at, without any: as far as the database is concerned. */
export async function letPhotoBe(sql: pg.ClientBase, task_id: number, photo: Photo): Promise<void> {
  const { id, content_type, size, sha256, version, width, height } = photo
  await sql.query(
    `insert into photos (photo_id, task_id, user_id, name, content_type, size, sha256, upload_ends_at,
       version, width, height)
     values ($1, $2, 1, '{}', $3, $4, decode($5, 'hex'), now(), $6, $7, $8) on conflict do nothing`,
    [id, task_id, content_type, size, sha256, version, width, height],
  )
}

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

import { AppError } from '../../../app/errors.ts'
import type {
  PhotoQuotas,
  PhotoRecord,
  PhotoRecords,
  Thumbnails,
} from '../../../app/ports/photos.ts'
import { DomainError } from '../../../domain/errors.ts'
import { MOST_PHOTOS, type PhotoType } from '../../../domain/task/photos.ts'
import { readText } from '../../encryption/encrypted-texts.ts'
import { type EncryptedText, encryptText } from '../../encryption/text-cipher.ts'
import type { UserKeys } from '../../encryption/user-keys.ts'
import type { Database } from '../connection/database.ts'

const OFFER = {
  name: 'offer_photo',
  text: 'select outcome, quota, used from offer_photo($1, $2, $3, $4, $5, $6, $7, $8, $9)',
}

const COLUMNS = `
  photo_id as id, task_id, user_id, name, content_type, size, encode(sha256, 'hex') as sha256, version,
  width, height, added_at, thumbnails, thumbnails_failed`

const FIND = {
  name: 'find_photo',
  text: `select ${COLUMNS} from photos where photo_id = $1 and gone_at is null`,
}

const IN_TASK = {
  name: 'photos_in_task',
  text: `
    select ${COLUMNS} from photos
    where task_id = $1 and added_at is not null and removed_at is null and gone_at is null`,
}

const FOUND = {
  name: 'found_photo',
  text: `
    update photos set version = $2, width = $3, height = $4
    where photo_id = $1 and version is null and gone_at is null`,
}

type Row = Omit<PhotoRecord, 'name' | 'found'> & {
  readonly name: EncryptedText
  readonly content_type: PhotoType
  readonly version: string | null
  readonly width: number
  readonly height: number
  readonly thumbnails: Thumbnails | null
}

type Offered = {
  readonly outcome: 'offered' | 'task_not_found' | 'task_forbidden' | 'erased' | 'over_quota'
  readonly quota: keyof PhotoQuotas | 'photos_of_task'
  readonly used: number
}

/** Their names stand there encrypted. */
export function postgresPhotoRecords(
  db: Database,
  keys: UserKeys,
  quotas: PhotoQuotas,
): PhotoRecords {
  const records = async (rows: readonly Row[]): Promise<readonly PhotoRecord[]> => {
    const known = await keys.findEach(rows.map(({ user_id }) => user_id))
    return rows.flatMap((row) => recordOf(row, known) ?? [])
  }

  return {
    async offer({ id, task_id, user_id, name, content_type, size, sha256 }, seconds) {
      const key = await keys.forWriting(user_id)
      const [offered] = await db.query<Offered>(OFFER, [
        id,
        task_id,
        user_id,
        encryptText(key, user_id, placeOf(id), name),
        content_type,
        size,
        Buffer.from(sha256, 'hex'),
        seconds,
        { ...quotas, photos_of_task: MOST_PHOTOS },
      ])
      if (offered === undefined) throw new Error('offer_photo gave no outcome')
      requireOffered(offered, quotas)
    },

    async find(id) {
      const [record = null] = await records(await db.query<Row>(FIND, [id]))
      return record
    },

    inTask: async (task_id) => records(await db.query<Row>(IN_TASK, [task_id])),

    async found(id, { version, width, height }) {
      await db.query(FOUND, [id, version, width, height])
    },
  }
}

const placeOf = (id: string) => ({ stream_id: `photo-${id}`, field: 'name' })

/** Null: its owner is erased. */
function recordOf(
  { name: sealed, version, width, height, ...row }: Row,
  keys: ReadonlyMap<number, Buffer | Error>,
): PhotoRecord | null {
  const name = nameOf(row.id, sealed, keys)
  const found = version === null ? null : { version, width, height }
  return name === null ? null : { ...row, name, found }
}

function nameOf(id: string, sealed: EncryptedText, keys: ReadonlyMap<number, Buffer | Error>) {
  try {
    return readText(sealed, placeOf(id), keys)
  } catch (cause) {
    throw new AppError('texts_unavailable', { cause })
  }
}

function requireOffered({ outcome, quota: of, used }: Offered, quotas: PhotoQuotas): void {
  switch (outcome) {
    case 'offered':
      return
    case 'task_not_found':
    case 'task_forbidden':
      throw new DomainError(outcome)
    case 'erased':
      throw new AppError('session_ended')
    case 'over_quota':
      if (of === 'photos_of_task') throw new DomainError('too_many_photos')
      throw new AppError('quota_exceeded', { quota: { of, limit: quotas[of], used } })
  }
}
